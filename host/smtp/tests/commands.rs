//! What must hold for every command of a session.

mod talk;

use std::sync::Arc;

use postern_smtp::{EnhancedCode, Extensions, ForwardPath, Limits, Session, SessionConfig, Step, Verdict};
use talk::{Talk, config};

fn limits(limits: Limits) -> SessionConfig {
    SessionConfig { limits, ..config() }
}

#[test]
fn ehlo_lists_what_is_offered() {
    let mut talk = Talk::new(config());
    let all = "250-gw.example\r\n250-PIPELINING\r\n250-SIZE 36700160\r\n250-8BITMIME\r\n\
        250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-CHUNKING\r\n250 BINARYMIME\r\n";
    assert_eq!(talk.say(b"ehlo client.example\r\n"), all);
    assert_eq!((talk.session.helo_name(), talk.session.protocol()), (Some("client.example"), "ESMTP"));

    let nothing = Extensions {
        pipelining: false,
        size: false,
        eight_bit_mime: false,
        enhanced: false,
        dsn: false,
        chunking: false,
        binary_mime: true,
    };
    let mut talk = Talk::new(SessionConfig { extensions: nothing, ..config() });
    assert_eq!(talk.say(b"EHLO client.example\r\n"), "250 gw.example\r\n");
    assert_eq!(talk.say(b"NOOP\r\n"), "250 ok\r\n");
    assert_eq!(talk.say(b"BDAT 6\r\nQUIT\r\n"), "502 BDAT is not offered\r\n");
    assert_eq!(talk.say(b"MAIL FROM:<> SIZE=1\r\n"), "555 parameter not recognized\r\n");
}

#[test]
fn helo_is_enough_for_a_message() {
    let mut talk = Talk::new(config());
    assert_eq!(talk.say(b"HELO client.example\r\n"), "250 gw.example\r\n");
    assert_eq!(talk.session.protocol(), "SMTP");
    talk.assert_in_step();
}

#[test]
fn the_greeting_is_one_clean_line() {
    let config = SessionConfig { banner: Some("ESMTP\r\n250 ready \u{1}".to_owned()), ..config() };
    let mut talk = Talk::of(Session::new(Arc::new(config)));
    assert_eq!(talk.say(b""), "220 gw.example ESMTP 250 ready\r\n");
}

#[test]
fn a_refused_client_may_only_quit() {
    let busy = Verdict::new(421, EnhancedCode::new(4, 3, 2), "too many connections");
    let mut talk = Talk::of(Session::refusing(Arc::new(config()), busy));
    assert_eq!(talk.say(b"EHLO x\r\n"), "421 gw.example too many connections\r\n");
    assert!(talk.closed);

    let never = Verdict::new(554, EnhancedCode::new(5, 7, 1), "not you");
    let mut talk = Talk::of(Session::refusing(Arc::new(config()), never));
    assert_eq!(talk.say(b""), "554 gw.example not you\r\n");
    talk.expect(&[("EHLO x", "503 5.5.1 "), ("MAIL FROM:<a@b>", "503 5.5.1 "), ("QUIT", "221 2.0.0 ")]);
    assert!(talk.closed);
}

#[test]
fn commands_out_of_sequence_are_503() {
    let mut talk = Talk::new(config());
    talk.expect(&[("MAIL FROM:<a@b.example>", "503 5.5.1 ")]);
    talk.say(b"EHLO client.example\r\n");
    talk.expect(&[
        ("RCPT TO:<c@d.example>", "503 5.5.1 "),
        ("DATA", "503 5.5.1 "),
        ("MAIL FROM:<a@b.example>", "250 2.1.0 "),
        ("MAIL FROM:<a@b.example>", "503 5.5.1 nested MAIL"),
        ("DATA", "503 5.5.1 "),
        ("RCPT TO:<c@d.example>", "250 2.1.5 "),
        ("DATA", "354 "),
        (".", "250 2.0.0 "),
    ]);
    assert_eq!(talk.accepted.len(), 1);
    assert_eq!(talk.accepted[0].1, b"");
}

#[test]
fn commands_are_understood_in_any_case() {
    let mut talk = Talk::new(config());
    talk.say(b"eHlO client.example\r\n");
    talk.expect(&[
        ("mail from:<a@b.example> body=8bitmime", "250 2.1.0 "),
        ("Rcpt To:<c@d.example> notify=never", "250 2.1.5 "),
        ("data", "354 "),
        (".", "250 2.0.0 "),
        ("quit", "221 2.0.0 "),
    ]);
    assert!(talk.closed);
}

#[test]
fn commands_without_effect_are_answered() {
    let mut talk = Talk::greeted(config());
    talk.expect(&[
        ("NOOP", "250 2.0.0 "),
        ("NOOP with words", "250 2.0.0 "),
        ("HELP", "214 2.0.0 "),
        ("VRFY someone", "252 2.5.0 "),
        ("RSET", "250 2.0.0 "),
        ("STARTTLS", "502 5.5.1 "),
        ("EXPN list", "502 5.5.1 "),
        ("XYZZY", "500 5.5.2 "),
    ]);
}

#[test]
fn rset_and_ehlo_end_a_transaction() {
    let mut talk = Talk::greeted(config());
    for reset in ["RSET", "HELO other.example"] {
        talk.envelope();
        assert!(talk.session.in_transaction());
        talk.expect(&[(reset, "250 "), ("RCPT TO:<c@d.example>", "503 5.5.1 ")]);
        talk.assert_in_step();
    }
    assert_eq!(talk.session.helo_name(), Some("other.example"));
}

#[test]
fn all_recipients_refused_means_no_message() {
    let mut talk = Talk::greeted(config());
    talk.expect(&[
        ("MAIL FROM:<a@b.example>", "250 2.1.0 "),
        ("RCPT TO:<unknown@d.example>", "550 5.1.1 no such mailbox"),
        ("RCPT TO:<later@d.example>", "451 4.7.1 later"),
        ("DATA", "554 5.5.1 no valid recipients"),
        ("RCPT TO:<known@d.example>", "250 2.1.5 "),
        ("DATA", "354 "),
        (".", "250 2.0.0 "),
    ]);
    assert_eq!(talk.accepted[0].0.recipients.len(), 1);
}

#[test]
fn a_verdict_is_the_reply_and_421_closes() {
    let mut talk = Talk::greeted(config());
    talk.expect(&[
        ("MAIL FROM:<unknown@b.example>", "550 5.1.1 no such mailbox"),
        ("RCPT TO:<c@d.example>", "503 5.5.1 "),
        ("MAIL FROM:<leave@b.example>", "421 4.7.0 leave"),
    ]);
    assert!(talk.closed);

    let mut talk = Talk::greeted(config());
    talk.rules = |step| match step {
        Step::Message(_) => Verdict::new(452, EnhancedCode::new(4, 3, 1), "full\r\n250 ok"),
        _ => Verdict::accept_with("fine"),
    };
    assert_eq!(talk.say(b"MAIL FROM:<a@b.example>\r\n"), "250 2.1.0 fine\r\n");
    assert_eq!(
        talk.say(b"RCPT TO:<a@b.example>\r\nDATA\r\n.\r\n").lines().last(),
        Some("452 4.3.1 full 250 ok")
    );
    talk.rules = talk::by_local_part;
    talk.assert_in_step();
}

#[test]
fn a_question_without_an_answer_is_refused_for_now() {
    let mut session = Session::new(Arc::new(config()));
    let (mut output, mut content) = (Vec::new(), Vec::new());
    let mut input = &b"HELO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"[..];
    assert!(matches!(session.advance(&mut input, &mut output, &mut content), Step::Mail(_)));
    assert_eq!(input, b"RCPT TO:<c@d.example>\r\n", "what is pipelined stays in the input");
    output.clear();
    assert_eq!(session.advance(&mut input, &mut output, &mut content), Step::NeedInput);
    assert!(output.starts_with(b"451 4.3.0 no decision was made\r\n503 5.5.1 "), "{output:?}");
}

#[test]
fn a_declared_size_above_the_limit_is_refused_at_mail() {
    let mut talk = Talk::greeted(limits(Limits { max_message_size: 1000, ..Limits::default() }));
    talk.expect(&[
        ("MAIL FROM:<a@b.example> SIZE=1001", "552 5.3.4 "),
        ("MAIL FROM:<a@b.example> SIZE=99999999999999999999", "552 5.3.4 "),
        ("MAIL FROM:<a@b.example> SIZE=1000", "250 2.1.0 "),
    ]);
}

#[test]
fn recipients_above_the_limit_are_told_to_come_later() {
    let mut talk = Talk::greeted(limits(Limits { max_recipients: 2, ..Limits::default() }));
    talk.expect(&[
        ("MAIL FROM:<>", "250 2.1.0 "),
        ("RCPT TO:<1@d.example>", "250 2.1.5 "),
        ("RCPT TO:<unknown@d.example>", "550 5.1.1 "),
        ("RCPT TO:<2@d.example>", "250 2.1.5 "),
        ("RCPT TO:<3@d.example>", "452 4.5.3 "),
        ("DATA", "354 "),
        (".", "250 2.0.0 "),
    ]);
    let to: Vec<String> = talk.accepted[0].0.recipients.iter().map(|r| r.forward_path.to_string()).collect();
    assert_eq!(to, ["1@d.example", "2@d.example"]);
}

#[test]
fn a_command_line_that_is_too_long_is_skipped() {
    let mut talk = Talk::greeted(limits(Limits { max_command_length: 100, ..Limits::default() }));
    let fits = format!("NOOP {}", "x".repeat(93));
    let long = format!("NOOP {}", "x".repeat(94));
    talk.expect(&[(&fits, "250 2.0.0 "), (&long, "500 5.5.2 "), ("NOOP", "250 2.0.0 ")]);
    let endless = format!("NOOP {}QUIT", "x".repeat(100_000));
    talk.expect(&[(&endless, "500 5.5.2 ")]);
    talk.assert_in_step();
}

#[test]
fn a_command_line_without_end_closes_the_connection() {
    let mut talk = Talk::greeted(limits(Limits { max_discarded: 10_000, ..Limits::default() }));
    let mut said = String::new();
    for _ in 0..20 {
        said += &talk.say(&[b'x'; 1000]);
    }
    assert_eq!(said, "500 5.5.2 command line too long\r\n421 4.7.0 command line too long\r\n");
    assert!(talk.closed);
}

#[test]
fn a_bare_lf_or_cr_never_begins_another_command() {
    let mut talk = Talk::greeted(config());
    assert_eq!(talk.say(b"NOOP\nRSET\nQUIT\r\n"), "500 5.5.2 a line ends with CRLF, not with a bare LF\r\n");
    talk.expect(&[("NOOP\rQUIT", "500 5.5.2 "), ("NOOP \0", "500 5.5.2 "), ("NOOP \u{1b}[0m", "500 5.5.2 ")]);
    talk.assert_in_step();
}

#[test]
fn faulty_parameters_are_told_apart() {
    for (line, reply) in [
        ("MAIL FROM:<a@b.example> SIZE=1 SIZE=1", "501 5.5.4 "),
        ("MAIL FROM:<a@b.example> FOO=1", "555 5.5.4 "),
        ("MAIL FROM:<a@b.example> SMTPUTF8", "555 5.5.4 "),
        ("MAIL FROM:<a@b.example> ENVID=a+2b", "501 5.5.4 "),
        ("MAIL FROM:<a@b.example", "501 5.1.7 "),
        ("MAIL FROM:<ü@b.example>", "553 5.6.7 "),
        ("MAIL", "501 5.5.4 "),
    ] {
        Talk::greeted(config()).expect(&[(line, reply)]);
    }
    for (line, reply) in [
        ("RCPT TO:<c@d.example> NOTIFY=NEVER,SUCCESS", "501 5.5.4 "),
        ("RCPT TO:<c@d.example> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4 "),
        ("RCPT TO:<c@d.example> ORCPT=fax;a=b", "501 5.5.4 "),
        ("RCPT TO:<c@d.example> SIZE=1", "555 5.5.4 "),
        ("RCPT TO:<>", "501 5.1.3 "),
        ("RCPT TO:c@d.example", "501 5.1.3 "),
    ] {
        Talk::greeted(config()).expect(&[("MAIL FROM:<>", "250 "), (line, reply), ("DATA", "554 5.5.1 ")]);
    }
}

#[test]
fn the_envelope_reaches_the_host_as_it_was_sent() {
    let mut talk = Talk::greeted(config());
    talk.expect(&[
        ("MAIL FROM:<@relay.example:\"a b\"@C.example> RET=HDRS ENVID=id+2B1 AUTH=<> BODY=8BITMIME SIZE=10", "250 "),
        ("RCPT TO:<POSTMASTER> NOTIFY=SUCCESS,DELAY", "250 "),
        ("RCPT TO:<f@fax.example> ORCPT=FAX;+2B4930123", "250 "),
        ("DATA", "354 "),
        (".", "250 "),
    ]);
    let message = &talk.accepted[0].0;
    assert_eq!(message.mail.reverse_path.to_string(), "\"a b\"@C.example");
    assert_eq!(message.mail.params.envelope_id.as_deref(), Some("id+1"));
    assert_eq!(message.mail.params.size, Some(10));
    assert_eq!(message.recipients[0].forward_path, ForwardPath::Postmaster);
    assert_eq!(
        message.recipients[0].params.notify.map(|n| (n.success, n.failure, n.delay)),
        Some((true, false, true))
    );
    let original = message.recipients[1].params.original.as_ref().unwrap();
    assert_eq!((original.kind.as_str(), original.address.as_str()), ("FAX", "+4930123"));
}

#[test]
fn too_many_errors_close_the_connection() {
    let mut talk = Talk::greeted(config());
    for _ in 0..5 {
        talk.expect(&[("XYZZY", "500 5.5.2 ")]);
    }
    talk.expect(&[("XYZZY", "421 4.7.0 ")]);
    assert!(talk.closed);
    assert_eq!(talk.say(b"NOOP\r\n"), "");
}

#[test]
fn errors_are_forgiven_after_an_accepted_message() {
    let mut talk = Talk::greeted(config());
    for _ in 0..10 {
        talk.expect(&[("XYZZY", "500 "), ("XYZZY", "500 "), ("XYZZY", "500 ")]);
        talk.assert_in_step();
    }
}

#[test]
fn what_was_pipelined_behind_a_refused_mail_is_no_error_of_the_client() {
    for mail in [
        "MAIL FROM:<unknown@b.example>",
        "MAIL FROM:<a@b..example>",
        "MAIL FROM:<a@b.example> SIZE=99999999999",
    ] {
        let mut talk = Talk::greeted(config());
        let rcpts = "RCPT TO:<c@d.example>\r\n".repeat(50);
        let said = talk.say(format!("{mail}\r\n{rcpts}DATA\r\n").as_bytes());
        assert_eq!(said.matches("503 5.5.1 ").count(), 51, "{said}");
        talk.assert_in_step();
    }
}

#[test]
fn bad_recipient_addresses_do_not_cost_the_others_their_message() {
    let mut talk = Talk::greeted(config());
    talk.expect(&[("MAIL FROM:<>", "250 ")]);
    for _ in 0..20 {
        talk.expect(&[("RCPT TO:<bad..address@d.example>", "501 5.1.3 ")]);
    }
    talk.expect(&[("RCPT TO:<good@d.example>", "250 "), ("DATA", "354 "), (".", "250 ")]);
}

#[test]
fn replies_for_timeout_and_shutdown_are_ready() {
    let talk = Talk::greeted(config());
    assert!(talk.session.timeout_reply().starts_with(b"421 4.4.2 gw.example "));
    assert!(talk.session.shutdown_reply().starts_with(b"421 4.3.2 gw.example "));
}
