//! What each answer means.

use postern_agent_sdk::testing::recipient;
use postern_agent_sdk::{Failure, Pending};

use super::*;

const NOW: u32 = 1_700_000_000;

fn settings(extra: &str) -> Settings {
    serde_json::from_str(&format!(r#"{{"url": "https://hook.example/in"{extra}}}"#)).unwrap()
}

fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Result<Answer, Fault> {
    let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Ok(Answer { status, headers, body: body.as_bytes().to_owned() })
}

fn two() -> [Recipient; 2] {
    [recipient(0, "ann@box.example"), recipient(4, "bob@box.example")]
}

fn judged(answer: Result<Answer, Fault>) -> Judged {
    judge(answer, &two(), &settings(""), NOW)
}

/// The outcome, checked to be the same for both recipients.
fn both(answer: Result<Answer, Fault>) -> Outcome {
    let outcomes = judged(answer).report.outcomes;
    assert_eq!(outcomes.iter().map(|o| o.recipient).collect::<Vec<_>>(), [0, 4]);
    assert_eq!(outcomes[0].outcome, outcomes[1].outcome);
    outcomes[0].outcome.clone()
}

fn deferral(outcome: Outcome) -> Deferral {
    match outcome {
        Outcome::Deferred(deferral) => deferral,
        other => panic!("{other:?} is not deferred"),
    }
}

#[test]
fn a_success_without_a_word_is_delivered_for_all() {
    for body in ["", "OK", "\"OK\"", "[]", "{}", r#"{"ok": true}"#, "<html>", r#"{"recipients": null}"#] {
        let outcome = both(answer(200, &[], body));
        assert_eq!(
            outcome,
            Outcome::Delivered(Response::new(250, (2, 0, 0), "the webhook answered 200")),
            "{body}"
        );
    }
    assert!(matches!(both(answer(204, &[], "")), Outcome::Delivered(_)));
}

#[test]
fn each_recipient_has_the_outcome_that_the_list_gives_it() {
    let body = r#"{"remote_id": "job-7", "recipients": [
        {"index": 4, "outcome": "failed", "code": 553, "status": "5.1.1", "text": "no bob", "class": "unallocated",
         "details": {"tries": 2}},
        {"index": 9, "outcome": "failed"}]}"#;
    let judged = judged(answer(200, &[], body));
    let [ann, bob] = &judged.report.outcomes[..] else { panic!("not two outcomes") };
    assert!(matches!(&ann.outcome, Outcome::Delivered(_)));
    let response = Response::new(553, (5, 1, 1), "the webhook answered 200: no bob");
    assert_eq!(bob.outcome, Outcome::Failed(Failure { response, class: "unallocated".to_owned() }));
    assert_eq!(bob.remote_id.as_deref(), Some("job-7"));
    assert_eq!(bob.details, [("tries".to_owned(), "2".to_owned())]);
    assert!(judged.warnings[0].contains("recipient 9"));
}

#[test]
fn every_word_for_an_outcome_is_understood_and_no_other_is_a_success() {
    let outcome = |word: &str| {
        let body = format!(
            r#"{{"receipt": "r", "recipients": [{{"index": 0, "outcome": "{word}", "code": 299}}]}}"#
        );
        judged(answer(200, &[], &body)).report.outcomes[0].outcome.clone()
    };
    assert!(matches!(outcome("delivered"), Outcome::Delivered(r) if r.code == 299));
    assert!(matches!(outcome("relayed"), Outcome::Relayed(_)));
    assert!(matches!(outcome("expanded"), Outcome::Expanded(_)));
    assert!(matches!(outcome("accepted"), Outcome::Accepted(p) if p.receipt_ids == ["r"]));
    assert!(matches!(outcome("deferred"), Outcome::Deferred(d) if d.response.code == 451));
    assert!(matches!(outcome("failed"), Outcome::Failed(f) if f.response.code == 550));
    assert!(matches!(outcome("Delivered"), Outcome::Deferred(d) if d.class == class::PROTOCOL_ERROR));
}

#[test]
fn a_list_that_cannot_be_read_is_not_a_success() {
    for body in [
        r#"{"recipients": "all"}"#,
        r#"{"recipients": [{"index": "0", "outcome": "failed"}]}"#,
        r#"{"recipients": [{"outcome": "failed"}]}"#,
        r#"{"recipients": {"0": "failed"}}"#,
        r#"{"retry_after": "soon"}"#,
    ] {
        let deferral = deferral(both(answer(200, &[], body)));
        assert_eq!(deferral.class, class::PROTOCOL_ERROR, "{body}");
        assert!(deferral.response.text.contains("not in the documented form"), "{body}");
    }
}

#[test]
fn a_202_waits_for_its_receipt() {
    let with_url = settings(r#", "receipt_url": "https://hook.example/r/{receipt}""#);
    let body = r#"{"receipt": "R1", "expires_after": 600}"#;
    let judged = judge(answer(202, &[("Location", "/r/9")], body), &two(), &with_url, NOW);
    let expected = Pending {
        receipt_ids: vec!["R1".to_owned()],
        response: Response::new(250, (2, 0, 0), "the webhook answered 202"),
        expires_after: Some(600),
    };
    assert_eq!(judged.report.outcomes[1].outcome, Outcome::Accepted(expected));
    assert!(judged.warnings.is_empty());

    let receipt = |outcome: Outcome| match outcome {
        Outcome::Accepted(pending) => pending.receipt_ids.concat(),
        other => panic!("{other:?} waits for nothing"),
    };
    assert_eq!(receipt(both(answer(202, &[("X-Receipt", "R2")], ""))), "R2");
    // Without receipt_url, the Location is what can be asked, and the far end's own name goes into the remote id.
    let judged = self::judged(answer(202, &[("Location", "/r/9")], body));
    let outcome = &judged.report.outcomes[0];
    assert_eq!(receipt(outcome.outcome.clone()), "https://hook.example/r/9");
    assert_eq!(outcome.remote_id.as_deref(), Some("R1"));
    assert!(judged.warnings.is_empty());
}

#[test]
fn a_202_without_a_receipt_is_relayed_and_one_that_cannot_be_asked_is_warned_of() {
    assert!(matches!(both(answer(202, &[], "")), Outcome::Relayed(_)));
    let too_long = format!(r#"{{"receipt": "{}"}}"#, "x".repeat(2_000));
    assert!(matches!(both(answer(202, &[], &too_long)), Outcome::Relayed(_)));
    let judged = judged(answer(202, &[], r#"{"receipt": "R1"}"#));
    assert!(matches!(judged.report.outcomes[0].outcome, Outcome::Accepted(_)));
    assert!(judged.warnings[0].contains("receipt_url"));
}

#[test]
fn too_many_requests_holds_the_queue_for_as_long_as_the_far_end_wishes() {
    let judged = judged(answer(429, &[("retry-after", "90")], ""));
    let deferral = deferral(judged.report.outcomes[0].outcome.clone());
    assert_eq!((deferral.class.as_str(), deferral.retry_after), (class::THROTTLED, Some(90)));
    assert_eq!(judged.report.refusal, Some(Refusal::DeferQueue(deferral)));
}

#[test]
fn an_unavailable_service_holds_the_queue_only_when_it_says_how_long() {
    let later = judged(answer(503, &[("Retry-After", "Tue, 14 Nov 2023 22:15:20 GMT")], ""));
    assert_eq!(deferral(later.report.outcomes[0].outcome.clone()).retry_after, Some(120));
    assert!(later.report.refusal.is_some());
    let judged = judged(answer(503, &[("Retry-After", "soon")], ""));
    assert_eq!(deferral(judged.report.outcomes[0].outcome.clone()).retry_after, None);
    assert!(judged.report.refusal.is_none());
}

#[test]
fn every_status_has_its_outcome_and_class() {
    for (status, class) in [
        (301, class::PROTOCOL_ERROR),
        (401, class::BLOCKED),
        (402, class::INSUFFICIENT_CREDIT),
        (403, class::BLOCKED),
        (404, class::SERVICE_UNAVAILABLE),
        (405, class::SERVICE_UNAVAILABLE),
        (408, class::TIMEOUT),
        (425, class::SERVICE_UNAVAILABLE),
        (500, class::SERVICE_UNAVAILABLE),
        (504, class::TIMEOUT),
        (101, class::PROTOCOL_ERROR),
        (999, class::PROTOCOL_ERROR),
    ] {
        let deferral = deferral(both(answer(status, &[], "")));
        assert_eq!((deferral.class.as_str(), deferral.response.code), (class, 451), "{status}");
    }
    for (status, class) in [
        (400, class::CONTENT_REJECTED),
        (410, class::UNALLOCATED),
        (413, class::TOO_LARGE),
        (415, class::CONTENT_REJECTED),
        (422, class::CONTENT_REJECTED),
        (451, class::CONTENT_REJECTED),
    ] {
        let Outcome::Failed(failure) = both(answer(status, &[], "")) else { panic!("{status} must fail") };
        assert_eq!((failure.class.as_str(), failure.response.code), (class, 550), "{status}");
    }
}

#[test]
fn the_far_end_may_say_why_in_json_or_in_plain_text() {
    let Outcome::Failed(failure) =
        both(answer(422, &[], r#"{"text": "no such room", "status": "5.2.1", "class": "blocked"}"#))
    else {
        panic!("422 must fail")
    };
    assert_eq!(failure.response, Response::new(550, (5, 2, 1), "the webhook answered 422: no such room"));
    assert_eq!(failure.class, class::BLOCKED);
    let text = format!("{}ä", "x".repeat(199));
    let plain = deferral(both(answer(500, &[("Content-Type", "Text/Plain; charset=utf-8")], &text)));
    assert_eq!(plain.response.text, format!("the webhook answered 500: {}", "x".repeat(199)));
    let html = deferral(both(answer(500, &[("Content-Type", "text/html")], "<h1>Oops</h1>")));
    assert_eq!(html.response.text, "the webhook answered 500");
}

#[test]
fn a_redirect_is_told_and_not_followed() {
    let deferral = deferral(both(answer(308, &[("Location", "https://new.example/in")], "")));
    assert!(deferral.response.text.contains("redirects to https://new.example/in"));
}

#[test]
fn no_answer_defers_and_holds_the_queue_where_nothing_could_get_through() {
    for (fault, class, whole_queue) in [
        (Fault::Timeout, class::TIMEOUT, false),
        (Fault::Connect("refused".to_owned()), class::SERVICE_UNAVAILABLE, true),
        (Fault::Tls("expired".to_owned()), class::SERVICE_UNAVAILABLE, true),
        (Fault::TooLarge, class::PROTOCOL_ERROR, false),
        (Fault::Other("reset".to_owned()), class::PROTOCOL_ERROR, false),
    ] {
        let judged = judged(Err(fault.clone()));
        let deferral = deferral(judged.report.outcomes[1].outcome.clone());
        assert_eq!(
            (deferral.class.as_str(), judged.report.refusal.is_some()),
            (class, whole_queue),
            "{fault}"
        );
    }
}

#[test]
fn a_denial_names_the_grants_that_are_needed() {
    let settings = settings(r#", "secret": "token", "receipt_url": "https://status.example:8443/{receipt}""#);
    let judged = judge(Err(Fault::Denied("no grant".to_owned())), &two(), &settings, NOW);
    let deferral = deferral(judged.report.outcomes[0].outcome.clone());
    assert_eq!(
        deferral.response.text,
        "not granted: no grant; the connector needs http = [\"https://hook.example/\", \
         \"https://status.example:8443/\"] and secrets = [\"token\"]"
    );
    assert_eq!(deferral.class, class::BLOCKED);
    assert!(judged.report.refusal.is_some());
}
