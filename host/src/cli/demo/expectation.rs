//! What a demo must have shown before it ends, and what of it is missing. Pure.

use std::collections::BTreeSet;

use mail_parser::MessageParser;

use super::fax_service::BUSY;
use super::mail_server::Mail;
use super::samples::Sent;
use crate::tracking::TrackedEvent;

/// The events that decide a recipient.
const FATES: [&str; 7] = ["deliver", "relay", "expand", "fail", "expire", "remove", "unknown"];

/// Everything that was seen from outside.
pub struct Seen<'a> {
    /// What was sent.
    pub sent: &'a [Sent],
    /// What the host tracked.
    pub events: &'a [TrackedEvent],
    /// What the mail server of the office got.
    pub mails: &'a [Mail],
    /// How many files the pager program took.
    pub files_taken: usize,
}

impl Seen<'_> {
    /// What is missing, one sentence each; empty when all is done.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for sent in self.sent {
            self.recipients(sent, &mut missing);
        }
        self.busy(&mut missing);
        self.reports(&mut missing);
        self.files(&mut missing);
        self.undecided(&mut missing);
        missing
    }

    /// Each recipient of a sample has its fate.
    fn recipients(&self, sent: &Sent, missing: &mut Vec<String>) {
        for expected in sent.sample.recipients {
            let mut own = self
                .events
                .iter()
                .filter(|e| e.message_id == sent.id && e.recipient.as_deref() == Some(expected.shown));
            if own.clone().any(|e| e.event == expected.fate) {
                continue;
            }
            let last = own.next_back().map_or("nothing", |e| e.event.as_str());
            missing.push(format!(
                "{} of \"{}\" should end with the event {}, and had last: {last}",
                expected.shown,
                sent.sample.subject(),
                expected.fate
            ));
        }
    }

    /// The busy line was really tried twice.
    fn busy(&self, missing: &mut Vec<String>) {
        let concerned = self.sent.iter().any(|s| s.sample.recipients.iter().any(|r| r.shown == BUSY));
        let put_off = self.events.iter().any(|e| e.event == "defer" && e.recipient.as_deref() == Some(BUSY));
        if concerned && !put_off {
            missing.push(format!("{BUSY} was never busy"));
        }
    }

    /// The senders who are owed a report have got it, and the recipients at the mail server their mail.
    fn reports(&self, missing: &mut Vec<String>) {
        for sample in self.sent.iter().map(|s| s.sample) {
            let subject = sample.subject();
            if let Some(report) = sample.report {
                let wanted = format!("{report}: {subject}");
                if !self.mails.iter().any(|m| is_report(m, sample.sender, &wanted)) {
                    missing.push(format!("{} should have the report \"{wanted}\"", sample.sender));
                }
            }
            for expected in sample.recipients {
                let ours = expected.address.ends_with("@fax.example")
                    || expected.address.ends_with("@pager.example");
                let got = |m: &Mail| {
                    m.sender == sample.sender && m.recipients.iter().any(|r| r == expected.address)
                };
                if !ours && !self.mails.iter().any(got) {
                    missing.push(format!("{} should have the mail \"{subject}\"", expected.address));
                }
            }
        }
    }

    /// The pager program took what was meant for it.
    fn files(&self, missing: &mut Vec<String>) {
        let all = self.sent.iter().flat_map(|s| s.sample.recipients);
        let wanted = all.filter(|r| r.address.ends_with("@pager.example")).count();
        if self.files_taken < wanted {
            missing.push(format!("the pager program took {} of {wanted} files", self.files_taken));
        }
    }

    /// Reports and whatever else is on its way, too.
    fn undecided(&self, missing: &mut Vec<String>) {
        let keys = |words: &[&str]| -> BTreeSet<(&str, Option<u32>)> {
            let of_kind = self.events.iter().filter(|e| words.contains(&e.event.as_str()));
            of_kind.map(|e| (e.message_id.as_str(), e.recipient_index)).collect()
        };
        let (arrived, decided) = (keys(&["receive", "generate"]), keys(&FATES));
        let open = arrived.difference(&decided).count();
        if open > 0 {
            let what = if open == 1 { "recipient is" } else { "recipients are" };
            missing.push(format!("{open} {what} not decided"));
        }
    }
}

fn is_report(mail: &Mail, to: &str, subject: &str) -> bool {
    mail.sender.is_empty()
        && mail.recipients.iter().any(|r| r == to)
        && MessageParser::default()
            .parse_headers(&mail.content[..])
            .is_some_and(|m| m.subject() == Some(subject))
}

#[cfg(test)]
mod tests {
    use super::super::samples::SAMPLES;
    use super::super::story::tests::event;
    use super::*;

    fn sent(number: usize) -> Sent {
        Sent { sample: &SAMPLES[number], id: "m".to_owned(), reply: String::new() }
    }

    #[test]
    fn a_recipient_without_its_fate_is_named_with_its_last_event() {
        let sent = [sent(0)];
        let events = [event("receive", "FAX:+4930456"), event("defer", "FAX:+4930456")];
        let missing = Seen { sent: &sent, events: &events, mails: &[], files_taken: 0 }.missing();
        assert_eq!(missing.len(), 2, "{missing:?}");
        assert!(
            missing[0].contains("FAX:+4930456") && missing[0].ends_with("had last: defer"),
            "{missing:?}"
        );
        assert_eq!(missing[1], "1 recipient is not decided");
    }

    #[test]
    fn nothing_is_missing_when_everything_came_true() {
        let sent = [sent(0)];
        let events = [event("receive", "FAX:+4930456"), event("deliver", "FAX:+4930456")];
        assert!(Seen { sent: &sent, events: &events, mails: &[], files_taken: 0 }.missing().is_empty());
    }

    #[test]
    fn a_report_must_be_from_nobody_to_the_sender_and_about_the_mail() {
        let sent = [sent(4)];
        let events = [event("receive", "FAX:+4930100"), event("deliver", "FAX:+4930100")];
        let mut mails = [Mail {
            at: jiff::Timestamp::UNIX_EPOCH,
            sender: String::new(),
            recipients: vec!["maria@office.example".to_owned()],
            content: format!("Subject: Delivered: {}\r\n\r\n", SAMPLES[4].subject()).into_bytes(),
        }];
        let missing = |mails: &[Mail]| Seen { sent: &sent, events: &events, mails, files_taken: 0 }.missing();
        assert!(missing(&mails).is_empty());
        mails[0].sender = "x@y.example".to_owned();
        assert_eq!(missing(&mails).len(), 1);
    }

    #[test]
    fn a_line_that_was_not_busy_and_files_that_lie_about_are_missed() {
        let (sent, events) = ([sent(1), sent(2)], []);
        let missing = Seen { sent: &sent, events: &events, mails: &[], files_taken: 0 }.missing();
        assert!(missing.iter().any(|m| m.contains("never busy")), "{missing:?}");
        assert!(missing.iter().any(|m| m.contains("0 of 1 files")), "{missing:?}");
    }
}
