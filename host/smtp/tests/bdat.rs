//! What must hold for BDAT.

mod talk;

use postern_smtp::{Limits, SessionConfig};
use talk::{Talk, config};

#[test]
fn chunks_are_handed_over_byte_for_byte() {
    let mut talk = Talk::greeted(config());
    let content = b"Subject: x\n\n\0bare\rcr\nlf\r\n.\r\nQUIT\r\n..\xff";
    talk.expect(&[("MAIL FROM:<a@b.example> BODY=BINARYMIME", "250 "), ("RCPT TO:<c@d.example>", "250 ")]);
    let (first, second) = content.split_at(17);
    let wire = [b"BDAT 17\r\n", first, b"BDAT 0\r\n", b"BDAT 20 LAST\r\n", second].concat();
    assert_eq!(second.len(), 20);
    let said = talk.say(&wire);
    assert_eq!(
        said,
        "250 2.0.0 chunk received\r\n250 2.0.0 chunk received\r\n250 2.0.0 message accepted\r\n"
    );
    let (message, received) = &talk.accepted[0];
    assert_eq!((received.as_slice(), message.chunked, message.size), (&content[..], true, 37));
    assert_eq!(message.header.subject.as_deref(), Some(&b"x"[..]));
    talk.assert_in_step();
}

#[test]
fn an_empty_last_chunk_ends_the_message() {
    let mut talk = Talk::greeted(config());
    talk.envelope();
    assert!(talk.say(b"BDAT 8\r\nA: b\r\n\r\n").starts_with("250 "));
    talk.expect(&[("bdat 0 last", "250 2.0.0 message accepted")]);
    assert_eq!(talk.accepted[0].1, b"A: b\r\n\r\n");
}

#[test]
fn data_and_bdat_do_not_mix() {
    let mut talk = Talk::greeted(config());
    talk.envelope();
    assert!(talk.say(b"BDAT 2\r\nab").starts_with("250 "));
    talk.expect(&[("DATA", "503 5.5.1 "), ("RCPT TO:<x@d.example>", "503 5.5.1 "), ("BDAT 0 LAST", "250 ")]);
    assert_eq!(talk.accepted[0].1, b"ab");
}

#[test]
fn binary_content_needs_bdat() {
    let mut talk = Talk::greeted(config());
    talk.expect(&[
        ("MAIL FROM:<a@b.example> BODY=BINARYMIME", "250 "),
        ("RCPT TO:<c@d.example>", "250 "),
        ("DATA", "503 5.5.1 "),
        ("BDAT 0 LAST", "250 "),
    ]);
}

#[test]
fn rset_and_quit_in_the_middle_throw_the_chunks_away() {
    let mut talk = Talk::greeted(config());
    talk.envelope();
    assert!(talk.say(b"BDAT 2\r\nab").starts_with("250 "));
    assert_eq!(talk.content, b"ab");
    talk.expect(&[("RSET", "250 ")]);
    assert_eq!((talk.discards, talk.content.len()), (1, 0));
    talk.assert_in_step();
    talk.envelope();
    assert!(talk.say(b"BDAT 2\r\nab").starts_with("250 "));
    talk.expect(&[("QUIT", "221 ")]);
    assert_eq!((talk.discards, talk.content.len(), talk.closed), (2, 0, true));
}

#[test]
fn refused_chunks_are_consumed() {
    let mut talk = Talk::greeted(config());
    assert!(talk.say(b"BDAT 6 LAST\r\nQUIT\r\n").starts_with("503 5.5.1 "));
    talk.expect(&[("MAIL FROM:<>", "250 ")]);
    assert!(talk.say(b"BDAT 6 LAST\r\nQUIT\r\n").starts_with("503 5.5.1 "));
    talk.expect(&[("RCPT TO:<unknown@d.example>", "550 ")]);
    assert!(talk.say(b"BDAT 6 LAST\r\nQUIT\r\n").starts_with("554 5.5.1 "));
    talk.expect(&[("RSET", "250 ")]);
    talk.assert_in_step();
}

#[test]
fn chunks_above_the_limit_are_consumed_and_refused() {
    let limits = Limits { max_message_size: 100, ..Limits::default() };
    let mut talk = Talk::greeted(SessionConfig { limits, ..config() });
    talk.envelope();
    let chunk = [b"BDAT 60\r\n".to_vec(), vec![b'x'; 60]].concat();
    assert!(talk.say(&chunk).starts_with("250 "));
    assert!(talk.say(&chunk).starts_with("552 5.3.4 "));
    assert_eq!((talk.discards, talk.content.len()), (1, 0));
    for _ in 0..20 {
        assert!(talk.say(&chunk).starts_with("503 5.5.1 "), "pipelined behind the refused one");
    }
    talk.assert_in_step();
}

#[test]
fn a_chunk_far_above_the_limit_is_cut_off() {
    let limits = Limits { max_message_size: 100, max_discarded: 1000, ..Limits::default() };
    let mut talk = Talk::greeted(SessionConfig { limits, ..config() });
    talk.envelope();
    assert_eq!(
        talk.say(&[b"BDAT 9999999 LAST\r\n".to_vec(), vec![b'x'; 5000]].concat()),
        "552 5.3.4 message size exceeds the limit\r\n"
    );
    assert_eq!((talk.closed, talk.content.len()), (true, 0));

    let mut talk = Talk::greeted(SessionConfig { limits, ..config() });
    let said = talk.say(&[b"BDAT 9999999 LAST\r\n".to_vec(), vec![b'x'; 5000]].concat());
    assert_eq!((said.as_str(), talk.closed), ("421 4.7.0 too much data\r\n", true), "without a transaction");
}

#[test]
fn a_chunk_of_unknown_size_closes_the_connection() {
    for line in ["BDAT", "BDAT x LAST", "BDAT -1", "BDAT 1 FIRST", "BDAT 99999999999999999999"] {
        let mut talk = Talk::greeted(config());
        talk.envelope();
        let said = talk.say(format!("{line}\r\nRSET\r\n").as_bytes());
        assert!(said.starts_with("501 5.5.4 ") && said.matches("\r\n").count() == 1, "{line}: {said}");
        assert!(talk.closed);
    }
}
