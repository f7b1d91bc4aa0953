//! From a letter to what is handed in: the message, or a DSN to its sender. Pure.

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use postern_model::{
    Content, DsnKind, DsnRecipient, DsnRequest, Envelope, ItemId, MessageId, MessageInfo, Notify, Origin,
    Recipient, Response, Return, TypedAddress,
};
use postern_store::InboundId;

use super::content::body_of;
use super::{Letter, Refusal, Rules};
use crate::dsn::{self, DsnSettings};
use crate::submit::Submission;

/// Where a file counts as coming from: a program on this machine, which could say the same by SMTP over loopback.
pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The letter, if it keeps the limits of its directory.
pub(super) fn check_limits(
    letter: Letter,
    hops: usize,
    size: u64,
    rules: Rules<'_>,
) -> Result<Letter, Refusal> {
    let folder = rules.folder;
    let count = letter.recipients.len();
    let (status, text) = if size > folder.max_message_size {
        let limit = folder.max_message_size;
        ((5, 3, 4), format!("the file of {size} bytes is larger than max_message_size ({limit} bytes)"))
    } else if hops > rules.door.max_hops {
        let limit = rules.door.max_hops;
        (
            (5, 4, 6),
            format!("{hops} Received fields, more than max_hops ({limit}): the message goes in circles"),
        )
    } else if count > folder.max_recipients {
        let limit = folder.max_recipients;
        ((5, 5, 3), format!("{count} recipients, more than max_recipients ({limit})"))
    } else {
        return Ok(letter);
    };
    Err(Refusal::report(status, &text, letter))
}

/// The envelope of a letter.
#[must_use]
pub fn envelope(letter: &Letter, content: Option<&Content>, rules: Rules<'_>) -> Envelope {
    let extras = &letter.extras;
    let mut envelope = Envelope::generated(&letter.sender, rules.now);
    envelope.envelope_id.clone_from(&extras.envelope_id);
    envelope.ret = extras.ret;
    envelope.body = extras.body.or(content.map(body_of)).unwrap_or_default();
    envelope.helo = Some(extras.helo.clone().unwrap_or_else(|| "localhost".to_owned()));
    envelope.client = Some(CLIENT);
    envelope.submitter.clone_from(&rules.folder.submitter);
    envelope.receive_connector = rules.door.name.to_string();
    rules.door.kind.protocol().clone_into(&mut envelope.protocol);
    envelope.priority = extras.priority;
    envelope.must_deliver = extras.must_deliver;
    envelope.properties.clone_from(&extras.properties);
    envelope
}

/// The message, for these of its recipients. Their places are counted anew.
#[must_use]
pub fn message(
    letter: &Letter,
    recipients: Vec<Recipient>,
    content: Content,
    inbound: InboundId,
    rules: Rules<'_>,
) -> Submission {
    Submission {
        id: MessageId::generate(),
        origin: Origin::Accepted,
        envelope: envelope(letter, Some(&content), rules),
        recipients: (0..)
            .zip(recipients)
            .map(|(index, recipient)| Recipient { index, ..recipient })
            .collect(),
        content,
        internet_message_id: letter.internet_message_id.clone(),
        subject: letter.subject.clone(),
        outbox_key: None,
        inbound: Some(inbound),
        is_ours: false,
    }
}

/// A DSN to the sender of a letter about recipients who do not get it, with the envelope that it is about; `None` when
/// there is nobody to tell. A repeat has the same id.
#[must_use]
pub fn report(
    letter: &Letter,
    failed: Vec<(Recipient, Response)>,
    original: Option<&[u8]>,
    size: u64,
    inbound: &InboundId,
    settings: &DsnSettings,
    rules: Rules<'_>,
) -> Option<(Submission, Envelope)> {
    let to = TypedAddress::smtp(&letter.sender).ok()?;
    let wanted: Vec<_> = failed.into_iter().filter(|(r, _)| r.notify_or_default().failure).collect();
    if wanted.is_empty() {
        return None;
    }
    let key = format!("{}/{}", inbound.connector, inbound.remote);
    let id = MessageId::from_name(&key);
    let mut about = envelope(letter, None, rules);
    about.ret = about.ret.or(Some(Return::Full));
    let recipients = wanted.into_iter().map(|(recipient, response)| DsnRecipient {
        recipient,
        response,
        remote_id: None,
        details: Vec::new(),
        unconfirmed: false,
    });
    let request = DsnRequest {
        key,
        kind: DsnKind::Failed,
        item: ItemId { message: id, ordinal: 0 },
        connector: rules.door.name.to_string(),
        message: MessageInfo {
            id,
            origin: Origin::Accepted,
            envelope: about.clone(),
            size,
            internet_message_id: letter.internet_message_id.clone(),
            subject: letter.subject.clone(),
        },
        headers: letter.header.clone(),
        content: None,
        recipients: recipients.collect(),
        at: rules.now,
        retry_until: None,
    };
    let built = dsn::build(&request, original, settings);
    let recipient = Recipient { notify: Some(Notify::NEVER), ..Recipient::new(0, to) };
    let submission = Submission {
        id,
        origin: Origin::Generated,
        envelope: Envelope::generated("", rules.now),
        recipients: vec![recipient],
        content: Content::from(Bytes::from(built.content)),
        internet_message_id: Some(built.message_id),
        subject: Some(built.subject),
        outbox_key: None,
        inbound: Some(InboundId { remote: format!("{}/report", inbound.remote), ..inbound.clone() }),
        is_ours: true,
    };
    Some((submission, about))
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{FileDoorConfig, check_text};

    /// A directory of this kind with these lines in its table.
    pub fn door(table: &str, lines: &str) -> FileDoorConfig {
        let text = format!(
            "[host]\nname = \"gw.example\"\n[receive_connectors.in]\nlisten = [\"127.0.0.1:0\"]\n\
             [{table}.files]\ndirectory = \"files\"\n{lines}"
        );
        let checked = check_text(&text, Path::new("x"), Path::new("/x/y"), &|_| None);
        checked.map_err(|report| report.human()).unwrap().0.file_doors.remove(0)
    }

    fn letter() -> Letter {
        let to = |index, text| Recipient::new(index, TypedAddress::smtp(text).unwrap());
        Letter {
            sender: "jo@a.example".to_owned(),
            recipients: vec![to(0, "x@y.example"), to(1, "z@y.example")],
            header: b"Subject: hello\r\n\r\n".to_vec(),
            body_at: 0,
            internet_message_id: None,
            subject: Some("hello".to_owned()),
            extras: super::super::Extras::default(),
        }
    }

    fn inbound() -> InboundId {
        InboundId { connector: "pickup_directories/files".to_owned(), remote: "1:2.3/4/ab".to_owned() }
    }

    #[test]
    fn a_message_comes_from_this_machine_through_its_directory() {
        let door = door("pickup_directories", "[pickup_directories.files.submitters.hr]");
        let rules = Rules {
            door: &door,
            folder: &door.folders[0],
            host_name: "gw.example",
            now: "2026-03-02T12:00:00Z".parse().unwrap(),
        };
        let letter = letter();
        let second = vec![letter.recipients[1].clone()];
        let content = Content::from(Bytes::from_static("Grüße".as_bytes()));
        let message = message(&letter, second, content, inbound(), rules);
        assert_eq!((message.recipients[0].index, message.is_ours), (0, false));
        let envelope = message.envelope;
        assert_eq!((envelope.receive_connector.as_str(), envelope.protocol.as_str()), ("files", "PICKUP"));
        assert_eq!((envelope.submitter.as_deref(), envelope.client), (Some("hr"), Some(CLIENT)));
        assert_eq!(envelope.body, postern_model::BodyType::EightBit);
    }

    #[test]
    fn a_report_goes_to_the_sender_and_is_the_same_when_it_is_made_again() {
        let door = door("pickup_directories", "");
        let rules = Rules {
            door: &door,
            folder: &door.folders[0],
            host_name: "gw.example",
            now: "2026-03-02T12:00:00Z".parse().unwrap(),
        };
        let settings = DsnSettings {
            host_name: "gw.example".to_owned(),
            postmaster: "postmaster@gw.example".to_owned(),
            max_returned: 1000,
        };
        let failed = |letter: &Letter| {
            let response = Response::new(550, (5, 4, 4), "no connector");
            vec![(letter.recipients[0].clone(), response)]
        };
        let letter = letter();
        let make = |letter: &Letter| {
            report(
                letter,
                failed(letter),
                Some(b"Subject: hello\r\n\r\nbody\r\n"),
                20,
                &inbound(),
                &settings,
                rules,
            )
        };
        let (first, about) = make(&letter).unwrap();
        let (again, _) = make(&letter).unwrap();
        assert_eq!((first.id, &first.inbound), (again.id, &again.inbound));
        assert_eq!((first.recipients[0].address.display().as_str(), first.is_ours), ("jo@a.example", true));
        assert_eq!(about.receive_connector, "files");
        let text = String::from_utf8(first.content.read_all().unwrap().to_vec()).unwrap();
        assert!(text.contains("x@y.example") && !text.contains("z@y.example"), "{text}");
        assert!(text.contains("message/rfc822") && text.contains("no connector"), "{text}");
        let nobody = Letter { sender: String::new(), ..letter.clone() };
        assert!(make(&nobody).is_none());
        let mut silent = letter;
        silent.recipients[0].notify = Some(Notify::NEVER);
        assert!(make(&silent).is_none());
    }
}
