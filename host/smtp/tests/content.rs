//! What must hold for the content behind DATA.

mod talk;

use postern_smtp::{Limits, SessionConfig};
use talk::{Talk, config};

fn limited(limits: Limits) -> Talk {
    Talk::greeted(SessionConfig { limits, ..config() })
}

/// A message that is refused at its end, leaves nothing behind, and the session in step.
fn assert_refused(talk: &mut Talk, wire: &[u8], reply: &str) {
    let before = talk.accepted.len();
    let said = talk.data(wire);
    assert!(said.starts_with(reply), "{:?}: {said}", String::from_utf8_lossy(&wire[..wire.len().min(80)]));
    assert_eq!(said.matches("\r\n").count(), 1, "{said}");
    assert_eq!((talk.accepted.len(), talk.content.len()), (before, 0));
    talk.assert_in_step();
}

#[test]
fn a_message_is_handed_over_without_its_transparency_dots() {
    let mut talk = Talk::greeted(config());
    let said =
        talk.data(b"Message-ID: <1@b.example>\r\nSubject: a\r\n\tb\r\nReceived: x\r\n\r\n..dot\r\n.\r\n");
    assert_eq!(said, "250 2.0.0 message accepted\r\n");
    let (message, content) = &talk.accepted[0];
    assert!(content.ends_with(b"\r\n\r\n.dot\r\n"));
    assert_eq!(message.size, content.len() as u64);
    assert_eq!(message.header.size, content.len() - b".dot\r\n".len());
    assert_eq!(message.header.hops, 1);
    assert_eq!(message.header.message_id.as_deref(), Some(&b"<1@b.example>"[..]));
    assert_eq!(message.header.subject.as_deref(), Some(&b"a\tb"[..]));
    assert!(!message.chunked);
    assert_eq!(talk.discards, 0);
}

#[test]
fn smuggling_sequences_never_end_the_data() {
    let hidden = "MAIL FROM:<evil@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nevil\r\n";
    for sequence in [
        "\n.\n",
        "\r.\r",
        "\r\n.\n",
        "\n.\r\n",
        "\r\n.\r",
        "\r.\r\n",
        "\r\n\r.\r\n",
        "\n\n.\r\n",
        "\r\r.\r\r",
    ] {
        let wire = format!("Subject: x\r\n\r\nbody{sequence}{hidden}\r\n.\r\n");
        assert_refused(&mut Talk::greeted(config()), wire.as_bytes(), "550 5.6.11 ");
    }
}

#[test]
fn bare_line_ends_and_nul_anywhere_are_refused() {
    for wire in [
        &b"Subject: x\n\nbody\r\n.\r\n"[..],
        b"\nSubject: x\r\n\r\n.\r\n",
        b"Subject: x\r\n\r\nbody\r\r\n.\r\n",
        b"Subject: x\r\n\r\n\rbody\r\n.\r\n",
    ] {
        assert_refused(&mut Talk::greeted(config()), wire, "550 5.6.11 ");
    }
    assert_refused(&mut Talk::greeted(config()), b"Subject: x\r\n\r\nbo\0dy\r\n.\r\n", "550 5.6.0 ");
}

#[test]
fn a_flaw_in_the_middle_throws_away_what_the_host_holds_and_what_follows() {
    let mut talk = Talk::greeted(config());
    talk.envelope();
    talk.expect(&[("DATA", "354 ")]);
    assert_eq!(talk.say(b"Subject: x\r\n\r\nfirst\r\n"), "");
    assert!(!talk.content.is_empty());
    assert_eq!(talk.say(b"bare\nLF\r\n"), "");
    assert_eq!((talk.discards, talk.content.len()), (1, 0));
    assert_eq!(talk.say(b"more\r\n"), "");
    assert_eq!((talk.discards, talk.content.len()), (1, 0));
    assert!(talk.say(b".\r\n").starts_with("550 5.6.11 "));
    talk.assert_in_step();
}

#[test]
fn a_message_above_the_limit_is_read_to_its_end_and_refused() {
    let limits = Limits { max_message_size: 1000, ..Limits::default() };
    let exact = [b"A: b\r\n\r\n".to_vec(), vec![b'x'; 990], b"\r\n.\r\n".to_vec()].concat();
    assert!(limited(limits).data(&exact).starts_with("250 "));
    let above = [b"A: b\r\n\r\n".to_vec(), vec![b'x'; 991], b"\r\n.\r\n".to_vec()].concat();
    assert_refused(&mut limited(limits), &above, "552 5.3.4 ");
    let far_above = [b"A: b\r\n\r\n".to_vec(), vec![b'x'; 1_000_000], b"\r\n.\r\n".to_vec()].concat();
    assert_refused(&mut limited(limits), &far_above, "552 5.3.4 ");
    let mut talk = limited(limits);
    talk.data(&b"x\r\n".repeat(10_000));
    assert!(talk.content.len() <= 1000);
}

#[test]
fn transparency_dots_do_not_count_towards_the_size() {
    let mut talk = limited(Limits { max_message_size: 9, ..Limits::default() });
    assert!(talk.data(b"..\r\n..\r\n..\r\n.\r\n").starts_with("250 "));
}

#[test]
fn a_client_that_never_ends_a_refused_message_is_cut_off() {
    let limits = Limits { max_message_size: 1000, max_discarded: 5000, ..Limits::default() };
    let mut talk = limited(limits);
    let said = talk.data(&b"x\r\n".repeat(10_000));
    assert_eq!(said, "552 5.3.4 message size exceeds the limit\r\n");
    assert!(talk.closed);
}

#[test]
fn a_header_above_the_limit_is_refused() {
    let limits = Limits { max_header_size: 500, ..Limits::default() };
    let wire = [b"A: ".to_vec(), vec![b'x'; 500], b"\r\n\r\nbody\r\n.\r\n".to_vec()].concat();
    assert_refused(&mut limited(limits), &wire, "552 5.3.4 ");
    let many = [b"A: b\r\n".repeat(100), b"\r\nbody\r\n.\r\n".to_vec()].concat();
    assert_refused(&mut limited(limits), &many, "552 5.3.4 ");
    let body = [b"A: b\r\n\r\n".to_vec(), b"B: c\r\n".repeat(100), b".\r\n".to_vec()].concat();
    assert!(limited(limits).data(&body).starts_with("250 "));
}

#[test]
fn a_mail_loop_is_broken() {
    let hops = |count| [b"Received: from x\r\n".repeat(count), b"\r\nbody\r\n.\r\n".to_vec()].concat();
    assert!(Talk::greeted(config()).data(&hops(30)).starts_with("250 "));
    assert_refused(&mut Talk::greeted(config()), &hops(31), "554 5.4.6 ");
}

#[test]
fn lines_may_be_of_any_length_and_hold_any_octets_but_nul() {
    let mut talk = Talk::greeted(config());
    let octets: Vec<u8> = (1..=255).filter(|b| !b"\r\n".contains(b)).collect();
    let body = [octets, vec![b'x'; 300_000], b"\r\n".to_vec()].concat();
    assert!(talk.data(&[&b"A: b\r\n\r\n"[..], &body, b".\r\n"].concat()).starts_with("250 "));
    assert!(talk.accepted[0].1.ends_with(&body));
}
