//! Poll: asks the far end what became of what it accepted. Nothing final is ever made up: what is not answered clearly
//! stays pending, and the host's own time limit decides.

use postern_agent_sdk::http::{Answer, Request};
use postern_agent_sdk::{Receipt, ReceiptState, class, host, log};
use serde::Deserialize;

use crate::far_end::Words;
use crate::{Settings, request, retry_after, url};

/// A poll stops before a request when less than this is left of the call's deadline, in milliseconds. What is not asked
/// for in this poll is asked for in the next.
const ENOUGH_MS: u32 = 3_000;

/// The most that one poll asks for; the host allows an agent 100 requests in one call by default.
const MAX_QUESTIONS: usize = 64;

/// Asks for each id in turn.
pub fn poll(settings: &Settings, receipt_ids: &[String]) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    for id in receipt_ids.iter().take(MAX_QUESTIONS) {
        if host::remaining_ms() < ENOUGH_MS {
            break;
        }
        let Some(address) = address(settings, id) else {
            log::debug(&format!("nothing says where to ask about the receipt {id}"));
            continue;
        };
        match question(settings, &address).send() {
            Ok(answer) => match read(id, &answer) {
                Ok(receipt) => receipts.push(receipt),
                Err(text) => log::warn(&format!("{address}: {text}")),
            },
            Err(fault) => log::warn(&format!("{address}: {fault}")),
        }
    }
    receipts
}

/// Where to ask: the id itself where it is a `Location`, else the template.
fn address(settings: &Settings, id: &str) -> Option<String> {
    if url::origin(id).is_some() {
        return Some(id.to_owned());
    }
    settings.receipt_url.as_ref().map(|template| template.replace("{receipt}", &url::escaped(id)))
}

/// The configured headers, secrets among them, go only to the servers that the operator named: a `Location` is the
/// far end's word.
fn question(settings: &Settings, address: &str) -> Request {
    let named = [Some(&settings.url), settings.receipt_url.as_ref()].into_iter().flatten();
    let known =
        named.filter_map(|named| url::origin(named)).any(|origin| url::origin(address) == Some(origin));
    let mut request = Request::new("GET", address)
        .header("Accept", "application/json")
        .timeout_ms(request::timeout_ms(settings));
    if known {
        request.headers.extend(settings.request_headers());
    }
    request
}

#[derive(Deserialize)]
struct Told {
    state: String,
    #[serde(flatten)]
    words: Words,
}

/// What the answer says, or why it says nothing.
fn read(id: &str, answer: &Answer) -> Result<Receipt, String> {
    if answer.status / 100 != 2 {
        return Err(format!("the answer is {}", answer.status));
    }
    let told: Told = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("the answer is not in the documented form: {error}"))?;
    let (words, text) = (&told.words, format!("the webhook reported {}", told.state));
    let state = match told.state.as_str() {
        "pending" => ReceiptState::pending(words.response((2, 0, 0), &text)),
        "delivered" => ReceiptState::delivered(words.response((2, 0, 0), &text)),
        "failed" => {
            ReceiptState::failed(words.response((5, 0, 0), &text), words.class_or(class::UNSPECIFIED))
        }
        "retry" => {
            let class = words.class_or(class::UNSPECIFIED);
            let mut state = ReceiptState::retry(words.response((4, 0, 0), &text), class);
            if let ReceiptState::Retry(deferral) = &mut state {
                deferral.retry_after = words.retry_after.map(|s| s.min(retry_after::MAX_SECONDS));
            }
            state
        }
        other => return Err(format!("the state {other:?} is none")),
    };
    Ok(Receipt { details: words.details(), ..Receipt::new(id, state) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_agent_sdk::Response;
    use postern_agent_sdk::testing::{Host, logged, requests};

    fn settings(json: &str) -> Settings {
        serde_json::from_str(json).unwrap()
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: Vec::new(), body: body.as_bytes().to_owned() }
    }

    fn state(body: &str) -> ReceiptState {
        read("r", &answer(200, body)).unwrap().state
    }

    #[test]
    fn each_state_becomes_a_receipt_whose_code_fits() {
        let text = "the webhook reported failed: no such line";
        assert_eq!(
            state(
                r#"{"state": "failed", "code": 553, "status": "5.1.2", "text": "no such line", "class": "unallocated"}"#
            ),
            ReceiptState::failed(Response::new(553, (5, 1, 2), text), "unallocated")
        );
        assert_eq!(
            state(r#"{"state": "delivered", "code": 550}"#),
            ReceiptState::Delivered(Response::new(250, (2, 0, 0), "the webhook reported delivered"))
        );
        assert!(matches!(state(r#"{"state": "pending"}"#), ReceiptState::Pending(r) if r.code == 250));
        let ReceiptState::Retry(deferral) =
            state(r#"{"state": "retry", "class": "busy", "retry_after": 60}"#)
        else {
            panic!("not a retry")
        };
        assert_eq!((deferral.class.as_str(), deferral.retry_after), ("busy", Some(60)));
        assert_eq!(deferral.response.code, 451);
    }

    #[test]
    fn what_is_not_clear_stays_pending() {
        for (status, body) in [
            (404, "{}"),
            (410, "{}"),
            (500, ""),
            (200, ""),
            (200, r#"{"state": "lost"}"#),
            (200, r#"{"state": 1}"#),
            (302, r#"{"state": "delivered"}"#),
        ] {
            assert!(read("r", &answer(status, body)).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn an_id_is_put_into_the_template_and_a_location_is_asked_itself() {
        let settings =
            settings(r#"{"url": "https://a/in", "receipt_url": "https://a/r?id={receipt}", "secret": "s"}"#);
        let delivered = || Ok(answer(200, r#"{"state": "delivered", "details": {"pages": 2}}"#));
        Host::new().answer(delivered()).answer(delivered()).install();
        let receipts = poll(&settings, &["a/b".to_owned(), "https://evil.example/r/2".to_owned()]);
        let asked = requests();
        assert_eq!(asked[0].url, "https://a/r?id=a%2Fb");
        assert_eq!(asked[1].url, "https://evil.example/r/2");
        assert!(asked[0].headers.iter().any(|(name, _)| name == "Authorization"));
        assert!(!asked[1].headers.iter().any(|(name, _)| name == "Authorization"));
        assert_eq!(receipts[1].id, "https://evil.example/r/2");
        assert_eq!(receipts[0].details, [("pages".to_owned(), "2".to_owned())]);
    }

    #[test]
    fn one_far_end_that_fails_does_not_keep_the_others_from_being_asked() {
        let settings = settings(r#"{"url": "https://a/in", "receipt_url": "https://a/r/{receipt}"}"#);
        Host::new()
            .answer(Ok(answer(500, "")))
            .answer(Ok(answer(200, r#"{"state": "delivered"}"#)))
            .install();
        let receipts = poll(&settings, &["1".to_owned(), "2".to_owned()]);
        assert_eq!(receipts.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["2"]);
        assert_eq!(logged().len(), 1);
    }

    #[test]
    fn a_poll_stops_while_there_is_time_to_report_what_it_learnt() {
        let settings = settings(r#"{"url": "https://a/in", "receipt_url": "https://a/r/{receipt}"}"#);
        Host::new()
            .remaining_ms(10_000)
            .remaining_ms(9_000)
            .remaining_ms(2_000)
            .answer(Ok(answer(200, r#"{"state": "delivered"}"#)))
            .install();
        let receipts = poll(&settings, &["1".to_owned(), "2".to_owned()]);
        assert_eq!((receipts.len(), requests().len()), (1, 1));
        assert_eq!(requests()[0].timeout_ms, Some(8_000));
    }

    #[test]
    fn without_an_address_nothing_is_asked() {
        Host::new().install();
        assert!(poll(&settings(r#"{"url": "https://a/in"}"#), &["1".to_owned()]).is_empty());
        assert!(requests().is_empty());
    }
}
