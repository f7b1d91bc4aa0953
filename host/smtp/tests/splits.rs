//! However the bytes are split, the session says and hands over the same; whatever they are, it does not panic.
//! A failing case is printed with its seed and kept by proptest.

mod talk;

use postern_smtp::{DataReader, DataWriter, Limits, LineEnds, ReplyReader, SessionConfig};
use proptest::prelude::*;
use talk::{Talk, config};

fn tight() -> SessionConfig {
    let limits = Limits {
        max_message_size: 300,
        max_header_size: 120,
        max_recipients: 2,
        max_command_length: 64,
        max_hops: 2,
        max_protocol_errors: 6,
        ..Limits::default()
    };
    SessionConfig { limits, ..config() }
}

/// All that can be seen from outside.
type Seen = (String, Vec<(String, Vec<u8>)>, usize, bool);

fn run(wire: &[u8], cuts: impl Iterator<Item = usize>) -> Seen {
    let mut talk = Talk::new(tight());
    let (mut said, mut rest) = (String::new(), wire);
    for cut in cuts {
        let (piece, more) = rest.split_at(cut.min(rest.len()));
        said += &talk.say(piece);
        rest = more;
    }
    said += &talk.say(rest);
    let accepted =
        talk.accepted.into_iter().map(|(message, content)| (format!("{message:?}"), content)).collect();
    (said, accepted, talk.refused, talk.closed)
}

/// Lines and fragments that lead deep into the machine when strung together.
fn fragment() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"EHLO c.example\r\n",
        b"HELO c\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<a@b.example> SIZE=400\r\n",
        b"MAIL FROM:<> BODY=BINARYMIME\r\n",
        b"RCPT TO:<c@d.example>\r\n",
        b"RCPT TO:<unknown@d.example>\r\n",
        b"RCPT TO:<c@d.example> ORCPT=fax;+2B49 NOTIFY=NEVER\r\n",
        b"DATA\r\n",
        b"BDAT 5\r\n12345",
        b"BDAT 0 LAST\r\n",
        b"BDAT 7 LAST\r\nab\n\r\0.\n",
        b"BDAT 200\r\n",
        b"RSET\r\n",
        b"NOOP\r\n",
        b"XYZZY\r\n",
        b"QUIT\n",
        b"Received: x\r\n",
        b"Subject: y\r\n z\r\n",
        b"Message-ID: <1>\r\n",
        b"\r\n",
        b".\r\n",
        b"\r\n.\r\n",
        b"..\r\n",
        b".\n",
        b"\r",
        b"\n",
        b".",
        b"\0",
        b"a line of text that is longer than a command line may be in this configuration\r\n",
    ];
    prop_oneof![9 => prop::sample::select(known).prop_map(<[u8]>::to_vec), 1 => prop::collection::vec(any::<u8>(), 0..80)]
}

/// Begins in the middle of a message more often than chance would.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let start: Vec<&[u8]> = vec![
        b"",
        b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n",
        b"EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
    ];
    (prop::sample::select(start), prop::collection::vec(fragment(), 0..40))
        .prop_map(|(start, fragments)| [start.to_vec(), fragments.concat()].concat())
}

#[test]
fn a_pipelined_session_in_one_buffer_and_byte_by_byte_is_the_same() {
    let wire = b"EHLO c.example\r\nMAIL FROM:<a@b.example> SIZE=30\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<unknown@d.example>\r\n\
        DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<c@d.example>\r\nBDAT 4\r\n\r\n.\nBDAT 2 LAST\r\n\r\nQUIT\r\n";
    let whole = run(wire, std::iter::empty());
    assert_eq!(whole, run(wire, std::iter::repeat_n(1, wire.len())));
    assert_eq!(whole.1.len(), 2);
    assert_eq!(whole.1[0].1, b"Subject: x\r\n\r\n.dot\r\n");
    assert_eq!(whole.1[1].1, b"\r\n.\n\r\n");
    let codes: Vec<&str> = whole.0.lines().map(|line| &line[..4]).filter(|code| *code != "250-").collect();
    let expected = "250 250 250 550 354 250 250 250 250 250 221 ";
    assert_eq!(codes.concat(), expected);
    assert!(whole.3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_split_gives_the_same(
        wire in conversation(),
        cuts in prop::collection::vec(0..90_usize, 0..60),
    ) {
        let whole = run(&wire, std::iter::empty());
        prop_assert_eq!(&whole, &run(&wire, cuts.into_iter()));
        prop_assert_eq!(&whole, &run(&wire, std::iter::repeat_n(1, wire.len())));
    }

    #[test]
    fn arbitrary_bytes_never_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
        let mut talk = Talk::new(tight());
        let mut reader = ReplyReader::default();
        for piece in &pieces {
            talk.say(piece);
            let _ = reader.read(&mut &piece[..]);
        }
    }

    #[test]
    fn what_is_stuffed_is_unstuffed(
        content in prop::collection::vec(prop_oneof![Just(b'.'), Just(b'\r'), Just(b'\n'), Just(b'a')], 0..60),
        piece in 1..20_usize,
    ) {
        let (mut writer, mut wire) = (DataWriter::new(LineEnds::Repair), Vec::new());
        for piece in content.chunks(piece) {
            writer.write(piece, &mut wire).unwrap();
        }
        writer.finish(&mut wire).unwrap();
        let (mut reader, mut received, mut ended) = (DataReader::new(), Vec::new(), false);
        wire.extend_from_slice(b"QUIT");
        let mut left = Vec::new();
        for bytes in wire.chunks(piece) {
            let mut input = bytes;
            if !ended {
                ended = reader.read(&mut input, |run| received.extend_from_slice(run));
            }
            left.extend_from_slice(input);
        }
        prop_assert!(ended);
        prop_assert_eq!(left, b"QUIT".to_vec());
        prop_assert_eq!(reader.flaw(), None);
        prop_assert_eq!(received, repaired(&content));
    }

    #[test]
    fn clean_content_is_sent_as_it_is(lines in prop::collection::vec("[.a]{0,4}", 0..8), piece in 1..20_usize) {
        let content: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let (mut writer, mut wire) = (DataWriter::new(LineEnds::Strict), Vec::new());
        for piece in content.as_bytes().chunks(piece) {
            writer.write(piece, &mut wire).unwrap();
        }
        writer.finish(&mut wire).unwrap();
        let mut received = Vec::new();
        prop_assert!(DataReader::new().read(&mut &wire[..], |run| received.extend_from_slice(run)));
        prop_assert_eq!(received, content.into_bytes());
    }
}

/// The slow and obvious way: each CRLF, CR or LF is one CRLF, and the last line has one.
fn repaired(content: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(content.to_vec()).expect("it is ASCII");
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = lines.replace('\n', "\r\n");
    if !out.is_empty() && !out.ends_with('\n') {
        out += "\r\n";
    }
    out.into_bytes()
}
