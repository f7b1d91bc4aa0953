//! Pickup: the envelope that a message's own header gives, by Exchange's rules. Pure.
//!
//! - The sender is the one address in `From`; where `From` has several, or none, the one in `Sender`. `Sender` has at most
//!   one.
//! - The recipients are those of `To`, `Cc` and `Bcc`, each once. `Bcc` leaves the header.
//! - A file that carries an envelope block was exported and belongs in a replay directory. Taken here it would go once more
//!   to everybody in its header, mailing lists included; so it is refused.
//!
//! Otherwise than Exchange, `Received` fields stay: they are what tells a message that goes round in circles.

use std::collections::BTreeSet;

use postern_drop::profile::exchange;
use postern_model::{Recipient, TypedAddress};
use postern_smtp::Mailbox;

use super::header::{Firewall, Header, views};
use super::{Extras, Letter, Refusal, Rules};

/// Reads a file's header. `head` is the whole file, or more of it than its header may be large; `size` is that of the file.
///
/// # Errors
/// Why the file is not taken as a message.
pub fn read(head: &[u8], size: u64, rules: Rules<'_>) -> Result<Letter, Refusal> {
    let limit = usize::try_from(rules.door.max_header_size).unwrap_or(usize::MAX);
    let header = Header::parse(head, limit).map_err(|error| Refusal::bad(&error.to_string()))?;
    if exchange::carries_block(header.fields.iter().map(|field| field.name)) {
        return Err(Refusal::bad(
            "the file carries an envelope (X-Sender, X-Receiver ...): it was exported. \
             Put it into a replay directory; from here it would go to everybody in its header again",
        ));
    }
    let sender = sender(&header).map_err(|text| Refusal::bad(&text))?;
    if !rules.folder.admits_sender(&sender) {
        return Err(Refusal::bad(&format!("{sender} may not send from this directory (senders)")));
    }
    let recipients = recipients(&header).map_err(|text| Refusal::bad(&text))?;
    let mended = header.mended(Firewall::Pickup, rules.host_name, rules.now);
    let (internet_message_id, subject) = views(&mended);
    let letter = Letter {
        sender,
        recipients,
        header: mended,
        body_at: header.size,
        internet_message_id,
        subject,
        extras: Extras::default(),
    };
    super::submission::check_limits(letter, header.hops(), size, rules)
}

fn sender(header: &Header<'_>) -> Result<String, String> {
    let (from, sender) = (header.addresses("from"), header.addresses("sender"));
    let address = match (&from[..], &sender[..]) {
        (_, [_, _, ..]) => return Err("Sender has more than one address".to_owned()),
        ([], []) => return Err("neither From nor Sender has an address".to_owned()),
        ([_, _, ..], []) => return Err("From has several addresses, and no Sender says who sends".to_owned()),
        ([one], _) | (_, [one]) => one,
    };
    let mailbox: Mailbox = address.parse().map_err(|error| format!("the sender {address:?} is {error}"))?;
    Ok(mailbox.to_string())
}

fn recipients(header: &Header<'_>) -> Result<Vec<Recipient>, String> {
    let mut seen = BTreeSet::new();
    let mut recipients = Vec::new();
    for text in ["to", "cc", "bcc"].iter().flat_map(|name| header.addresses(name)) {
        let wrong = |error: &dyn std::fmt::Display| format!("the recipient {text:?} is no address: {error}");
        text.parse::<Mailbox>().map_err(|error| wrong(&error))?;
        let address = TypedAddress::smtp(&text).map_err(|error| wrong(&error))?;
        if seen.insert(address.clone()) {
            let index = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
            recipients.push(Recipient::new(index, address));
        }
    }
    if recipients.is_empty() {
        return Err("there is no recipient in To, Cc or Bcc".to_owned());
    }
    Ok(recipients)
}

#[cfg(test)]
mod tests {
    use super::super::submission::tests::door;
    use super::*;

    fn read(text: &str) -> Result<Letter, Refusal> {
        read_with(text, "")
    }

    fn read_with(text: &str, lines: &str) -> Result<Letter, Refusal> {
        let door = door("pickup_directories", lines);
        let now = "2026-03-02T12:00:00Z".parse().unwrap();
        let rules = Rules { door: &door, folder: &door.folders[0], host_name: "gw.example", now };
        super::read(text.as_bytes(), text.len() as u64, rules)
    }

    fn bad(text: &str, expected: &str) {
        let refusal = read(text).unwrap_err();
        assert!(refusal.tell.is_none() && refusal.response.text.contains(expected), "{text}: {refusal:?}");
    }

    fn to(letter: &Letter) -> Vec<String> {
        letter.recipients.iter().map(|recipient| recipient.address.display()).collect()
    }

    #[test]
    fn from_and_sender_say_who_sends_as_in_exchange() {
        let sender = |fields: &str| read(&format!("{fields}To: x@y.example\n\n")).unwrap().sender;
        assert_eq!(sender("From: a@b.example\n"), "a@b.example");
        assert_eq!(sender("Sender: s@b.example\n"), "s@b.example");
        assert_eq!(sender("Sender: s@b.example\nFrom: Jo <a@b.example>\n"), "a@b.example");
        assert_eq!(sender("From: a@b.example, c@b.example\nSender: s@b.example\n"), "s@b.example");
        bad("From: a@b.example, c@b.example\nTo: x@y.example\n\n", "no Sender");
        bad("From: a@b.example\nSender: s@b.example, t@b.example\nTo: x@y.example\n\n", "more than one");
        bad("From: nobody\nTo: x@y.example\n\n", "the sender");
        bad("To: x@y.example\n\n", "neither From nor Sender");
    }

    #[test]
    fn recipients_come_from_to_cc_and_bcc_each_once() {
        let letter = read(
            "From: a@b.example\nTo: x@Y.example, \"z\" <z@y.example>\nCc: x@y.example\nBcc: q@y.example\n\nbody",
        )
        .unwrap();
        assert_eq!(to(&letter), ["x@y.example", "z@y.example", "q@y.example"]);
        assert_eq!(letter.recipients[2].index, 2);
        let header = String::from_utf8(letter.header).unwrap();
        assert!(!header.contains("q@y.example") && !header.contains("undisclosed"), "{header}");
        bad("From: a@b.example\n\n", "no recipient");
        bad("From: a@b.example\nTo: undisclosed-recipients:;\n\n", "no recipient");
        bad("From: a@b.example\nTo: x@y.example, not an address\n\n", "is no address");
    }

    #[test]
    fn only_bcc_becomes_undisclosed_recipients() {
        let letter = read("From: a@b.example\nBcc: q@y.example\n\n").unwrap();
        assert!(String::from_utf8(letter.header).unwrap().contains("To: undisclosed-recipients:;\r\n"));
    }

    #[test]
    fn exported_files_are_refused_with_the_way_out() {
        bad(
            "X-Sender: <a@b.example>\nX-Receiver: <x@y.example>\nFrom: a@b.example\nTo: list@z.example\n\n",
            "replay",
        );
        bad(
            "Received: x\nX-EndOfInjectedXHeaders: 50610\nFrom: a@b.example\nTo: list@z.example\n\n",
            "replay",
        );
        assert!(read("X-Sender: a@b.example\nFrom: a@b.example\nTo: x@y.example\n\n").is_ok());
    }

    #[test]
    fn what_breaks_a_limit_is_told_to_the_sender() {
        let refused = |text: &str, lines: &str| {
            let refusal = read_with(text, lines).unwrap_err();
            let letter = refusal.tell.unwrap_or_else(|| panic!("{:?}", refusal.response));
            assert_eq!(letter.sender, "a@b.example");
            refusal.response.text
        };
        let text = "From: a@b.example\nTo: x@y.example, z@y.example\nReceived: 1\nReceived: 2\n\n";
        assert!(refused(text, "max_recipients = 1").contains("max_recipients"));
        assert!(refused(text, "max_hops = 1").contains("max_hops"));
        let large = format!("{text}{}", "x".repeat(70_000));
        assert!(refused(&large, "max_message_size = \"64KiB\"").contains("max_message_size"));
        // A sender who may not send here is not told either: that address may be anybody's.
        let stranger = read_with(text, "senders = [\"*@corp.example\"]").unwrap_err();
        assert!(stranger.tell.is_none() && stranger.response.text.contains("(senders)"), "{stranger:?}");
        let header = read_with(&format!("X: {}\n{text}", "x".repeat(2000)), "max_header_size = \"1KiB\"");
        assert!(header.unwrap_err().response.text.contains("max_header_size"));
    }
}
