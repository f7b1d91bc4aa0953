//! What an agent says, made into the host's words: checked, cleaned and bounded.

use jiff::SignedDuration;
use postern_model::text::{is_hidden, one_line};
use postern_model::{
    AddressType, Deferral, FailureClass, Outcome, Pending, Receipt, ReceiptState, RecipientOutcome, Refusal,
    Response, TypedAddress,
};

use crate::Limit;
use crate::bindings::imported::types as wit;
use crate::log::AgentLog;
use crate::witness::{Violation, Witness};

/// The longest address that a receipt may name, in bytes: no recipient has a longer one.
const MAX_RECEIPT_ADDRESS: usize = AddressType::MAX_LENGTH + 1 + TypedAddress::MAX_LENGTH;

/// The largest number in an enhanced status code.
const MAX_STATUS: u16 = 999;

/// The recipients of one item, and what the agent has said about them so far. The first word about each counts.
pub(crate) struct Reported {
    /// The queued recipients by index, and whether an outcome has come.
    expected: Vec<(u32, bool)>,
    outcomes: Vec<RecipientOutcome>,
    heard: usize,
}

impl Reported {
    pub(crate) fn new(recipients: impl Iterator<Item = u32>) -> Self {
        let mut expected: Vec<_> = recipients.map(|index| (index, false)).collect();
        expected.sort_unstable();
        Self { expected, outcomes: Vec::new(), heard: 0 }
    }

    /// Takes one outcome, unless it is about nobody, a repeat, or over the limit.
    pub(crate) fn take(&mut self, said: wit::RecipientOutcome, log: &AgentLog) {
        self.heard += 1;
        let max = log.limits().outcomes;
        if self.heard > max {
            if self.heard == max + 1 {
                log.hit(Limit::Outcomes);
                let text = format!("more than outcomes = {max} outcomes: the rest is ignored");
                log.violation(Violation::TooManyOutcomes, &text);
            }
            return;
        }
        let index = said.recipient;
        match self.expected.binary_search_by_key(&index, |(index, _)| *index) {
            Err(_) => {
                let text = format!("an outcome for recipient {index}, which is not of this item, is ignored");
                log.violation(Violation::UnknownRecipient, &text);
            }
            Ok(at) if self.expected[at].1 => {
                let text = format!("a second outcome for recipient {index} is ignored");
                log.violation(Violation::SecondOutcome, &text);
            }
            Ok(at) => {
                self.expected[at].1 = true;
                self.outcomes.push(recipient_outcome(said, log));
            }
        }
    }

    /// Whether some recipient has no outcome.
    pub(crate) fn is_missing_some(&self) -> bool {
        self.expected.iter().any(|(_, said)| !said)
    }

    pub(crate) fn into_outcomes(self) -> Vec<RecipientOutcome> {
        self.outcomes
    }
}

fn recipient_outcome(said: wit::RecipientOutcome, log: &AgentLog) -> RecipientOutcome {
    if let Some(witness) = log.witness() {
        look_at(witness, &said);
    }
    let mut outcome = outcome(said.outcome, log).unwrap_or_else(|(violation, why)| {
        log.violation(violation, &format!("recipient {}: {why}", said.recipient));
        Outcome::Deferred(Deferral::new(451, (4, 3, 0), &why, "protocol-error"))
    });
    if let Outcome::Deferred(deferral) = &mut outcome {
        with_limits(&mut deferral.response, log);
    }
    RecipientOutcome {
        remote_id: said.remote_id.map(|id| detail_text(&id, log)),
        details: details(said.details, log),
        ..RecipientOutcome::new(said.recipient, outcome)
    }
    .cleaned()
}

/// Adds to the agent's words, which may not tell, the limits that its call has hit.
fn with_limits(response: &mut Response, log: &AgentLog) {
    let hit = log.limits_hit_and_phase();
    if hit.is_empty() {
        return;
    }
    let room = Response::MAX_TEXT.saturating_sub(hit.len());
    let text = format!("{}{hit}", one_line(&response.text, room));
    response.text = one_line(&text, Response::MAX_TEXT);
}

/// The details of a recipient or receipt, as many and as long as the limits allow.
fn details(mut said: Vec<(String, String)>, log: &AgentLog) -> Vec<(String, String)> {
    let max = log.limits().details;
    if said.len() > max {
        log.hit(Limit::Details);
        said.truncate(max);
    }
    said.into_iter().map(|(name, value)| (detail_text(&name, log), detail_text(&value, log))).collect()
}

fn detail_text(said: &str, log: &AgentLog) -> String {
    bounded(said, Limit::DetailText, log.limits().detail_text, log)
}

/// A text on one line, cut at a limit.
fn bounded(said: &str, limit: Limit, max: usize, log: &AgentLog) -> String {
    if said.len() > max {
        log.hit(limit);
    }
    one_line(said, max)
}

/// Notes texts that the host will cut or clean.
fn look_at(witness: &Witness, said: &wit::RecipientOutcome) {
    let response = match &said.outcome {
        wit::Outcome::Delivered(r) | wit::Outcome::Relayed(r) | wit::Outcome::Expanded(r) => r,
        wit::Outcome::Accepted(p) => &p.response,
        wit::Outcome::Deferred(d) => &d.response,
        wit::Outcome::Failed(f) => &f.response,
    };
    let max = RecipientOutcome::MAX_DETAIL_TEXT;
    witness.text(Violation::Text, "the response's text", &response.text, Response::MAX_TEXT);
    if let Some(id) = &said.remote_id {
        witness.text(Violation::Text, "the remote id", id, max);
    }
    if said.details.len() > RecipientOutcome::MAX_DETAILS {
        let text = format!("{} details, more than {}", said.details.len(), RecipientOutcome::MAX_DETAILS);
        witness.violation(Violation::Text, &text);
    }
    for (name, value) in &said.details {
        witness.text(Violation::Text, "the name of a detail", name, max);
        witness.text(Violation::Text, "a detail", value, max);
    }
}

/// The outcome, or which rule it breaks and how.
pub(crate) fn outcome(said: wit::Outcome, log: &AgentLog) -> Result<Outcome, (Violation, String)> {
    let outcome = match said {
        wit::Outcome::Delivered(r) => Outcome::Delivered(response(&r, log)),
        wit::Outcome::Relayed(r) => Outcome::Relayed(response(&r, log)),
        wit::Outcome::Expanded(r) => Outcome::Expanded(response(&r, log)),
        wit::Outcome::Accepted(p) => {
            Outcome::Accepted(pending(p, log).map_err(|why| (Violation::ReceiptIds, why))?)
        }
        wit::Outcome::Deferred(d) => Outcome::Deferred(deferral(&d, log)),
        wit::Outcome::Failed(f) => {
            Outcome::Failed { response: response(&f.response, log), class: FailureClass::new(&f.class) }
        }
    };
    if outcome.code_fits() {
        return Ok(outcome);
    }
    let (word, response) = (outcome.word(), outcome.response());
    Err((Violation::UnfitCode, format!("the agent reported `{word}` with {response}: the code does not fit")))
}

fn pending(said: wit::Pending, log: &AgentLog) -> Result<Pending, String> {
    let max = log.limits().receipt_ids;
    if said.receipt_ids.is_empty() {
        return Err("the agent reported `accepted` without a receipt id".to_owned());
    }
    if said.receipt_ids.len() > max {
        log.hit(Limit::ReceiptIds);
        return Err(format!("the agent reported more than receipt_ids = {max} receipt ids"));
    }
    if let Some(id) = said.receipt_ids.iter().find(|id| !is_id(id, log)) {
        return Err(format!("the agent reported a receipt id that cannot be kept: {:?}", one_line(id, 60)));
    }
    Ok(Pending {
        receipt_ids: said.receipt_ids,
        response: response(&said.response, log),
        expires_after: said.expires_after.map(|s| SignedDuration::from_secs(s.into())),
    })
}

/// An id must come back byte for byte, so it is never cleaned: it is fit or it is not.
fn is_id(id: &str, log: &AgentLog) -> bool {
    if id.len() > log.limits().receipt_id {
        log.hit(Limit::ReceiptId);
        return false;
    }
    !id.is_empty() && !id.contains(is_hidden)
}

fn response(said: &wit::Response, log: &AgentLog) -> Response {
    let text = bounded(&said.text, Limit::Text, log.limits().text, log);
    let (class, subject, detail) = said.status;
    // RFC 3463 2: each at most three digits.
    Response::new(said.code, (class, subject.min(MAX_STATUS), detail.min(MAX_STATUS)), &text)
}

fn deferral(said: &wit::Deferral, log: &AgentLog) -> Deferral {
    Deferral {
        response: response(&said.response, log),
        class: FailureClass::new(&said.class),
        retry_after: said.retry_after.map(|s| SignedDuration::from_secs(s.into())),
    }
}

/// A refusal whose code does not fit still stops the connection, but never more than that.
pub(crate) fn refusal(said: wit::Refusal, log: &AgentLog) -> Refusal {
    let (word, text) = match &said {
        wit::Refusal::DeferQueue(said) => ("defer-queue", &said.response.text),
        wit::Refusal::FailQueue(said) => ("fail-queue", &said.response.text),
    };
    if let Some(witness) = log.witness() {
        witness.text(Violation::Text, "the text of a refusal", text, Response::MAX_TEXT);
    }
    let (refusal, response, fits) = match said {
        wit::Refusal::DeferQueue(said) => {
            let mut deferral = deferral(&said, log);
            with_limits(&mut deferral.response, log);
            let response = deferral.response.clone();
            let fits = response.is_temporary();
            (Refusal::DeferQueue(deferral), response, fits)
        }
        wit::Refusal::FailQueue(said) => {
            let response = response(&said.response, log);
            let class = FailureClass::new(&said.class);
            let fits = response.is_permanent();
            (Refusal::FailQueue { response: response.clone(), class }, response, fits)
        }
    };
    if !fits {
        let text = format!("the agent reported `{word}` with {response}: the code does not fit");
        log.violation(Violation::UnfitRefusal, &text);
        return Refusal::DeferQueue(Deferral::new(451, (4, 3, 0), &text, "protocol-error"));
    }
    if response.text.is_empty() {
        log.violation(Violation::UnfitRefusal, &format!("the agent reported `{word}` without a text"));
    }
    refusal
}

/// The receipts that can be believed.
pub(crate) fn receipts(said: Vec<wit::Receipt>, log: &AgentLog) -> Vec<Receipt> {
    let max = log.limits().receipts;
    if said.len() > max {
        log.hit(Limit::Receipts);
        let text = format!("{} receipts: only receipts = {max} are taken", said.len());
        log.violation(Violation::UnfitReceipt, &text);
    }
    said.into_iter().take(max).filter_map(|said| receipt(said, log)).collect()
}

fn receipt(said: wit::Receipt, log: &AgentLog) -> Option<Receipt> {
    if !is_id(&said.id, log) {
        let text = format!("a receipt with the id {:?} is ignored", one_line(&said.id, 60));
        log.violation(Violation::UnfitReceipt, &text);
        return None;
    }
    let Ok(address) = receipt_address(said.address) else {
        log.remark(&format!("the receipt {:?} names an address that cannot be one: ignored", said.id));
        return None;
    };
    let (state, fits, word) = match said.state {
        wit::ReceiptState::Pending(r) => (ReceiptState::Pending(response(&r, log)), true, "pending"),
        wit::ReceiptState::Delivered(r) => {
            let r = response(&r, log);
            let fits = r.is_success();
            (ReceiptState::Delivered(r), fits, "delivered")
        }
        wit::ReceiptState::Failed(f) => {
            let response = response(&f.response, log);
            let fits = response.is_permanent();
            (ReceiptState::Failed { response, class: FailureClass::new(&f.class) }, fits, "failed")
        }
        wit::ReceiptState::Retry(d) => {
            let d = deferral(&d, log);
            let fits = d.response.is_temporary();
            (ReceiptState::Retry(d), fits, "retry")
        }
    };
    if !fits {
        let text = format!("the receipt {:?} says `{word}` with a code that does not fit: ignored", said.id);
        log.violation(Violation::UnfitReceipt, &text);
        return None;
    }
    let details = RecipientOutcome {
        details: details(said.details, log),
        ..RecipientOutcome::new(0, Outcome::Delivered(Response::new(250, (2, 0, 0), "")))
    };
    Some(Receipt { id: said.id, address, state, details: details.cleaned().details })
}

/// The address that a receipt names; an empty one is none. One that cannot be a recipient's must not be dropped: the
/// receipt would then be about everybody who waits for its id.
fn receipt_address(said: Option<String>) -> Result<Option<String>, ()> {
    let Some(text) = said.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let fits = text.len() <= MAX_RECEIPT_ADDRESS && !text.contains(is_hidden);
    if fits { Ok(Some(text)) } else { Err(()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Limits;
    use crate::stats::Stats;

    fn log() -> AgentLog {
        AgentLog::new("test".into(), &Limits::default(), Arc::new(Stats::default()), Arc::default())
    }

    fn said(code: u16, class: u8) -> wit::Response {
        wit::Response { code, status: (class, 0, 0), text: "so\r\nit is".to_owned() }
    }

    fn about(recipient: u32, outcome: wit::Outcome) -> wit::RecipientOutcome {
        wit::RecipientOutcome { recipient, outcome, remote_id: None, details: vec![] }
    }

    fn take(outcome: wit::Outcome) -> RecipientOutcome {
        let mut reported = Reported::new([3].into_iter());
        reported.take(about(3, outcome), &log());
        reported.into_outcomes().remove(0)
    }

    #[test]
    fn an_unknown_class_is_unspecified_and_a_wish_is_kept() {
        let deferral =
            wit::Deferral { response: said(450, 4), class: "No Carrier!".to_owned(), retry_after: Some(90) };
        let Outcome::Deferred(got) = take(wit::Outcome::Deferred(deferral)).outcome else { panic!() };
        assert_eq!((got.class.as_str(), got.retry_after), ("", Some(SignedDuration::from_secs(90))));
        assert_eq!(got.response.to_string(), "450 4.0.0 so it is");
    }

    #[test]
    fn a_status_of_another_class_does_not_fit_either() {
        assert_eq!(take(wit::Outcome::Delivered(said(250, 5))).outcome.word(), "deferred");
        assert_eq!(take(wit::Outcome::Relayed(said(250, 2))).outcome.word(), "relayed");
        let huge = wit::Response { status: (2, 1000, u16::MAX), ..said(250, 2) };
        let got = take(wit::Outcome::Delivered(huge));
        assert_eq!(got.outcome.response().status.to_string(), "2.999.999");
    }

    #[test]
    fn receipt_ids_are_kept_byte_for_byte_or_not_at_all() {
        let pending = |id: String| {
            wit::Outcome::Accepted(wit::Pending {
                receipt_ids: vec![id],
                response: said(250, 2),
                expires_after: None,
            })
        };
        let Outcome::Accepted(got) = take(pending("job  17".to_owned())).outcome else { panic!() };
        assert_eq!(got.receipt_ids, ["job  17"]);
        for id in [String::new(), "x".repeat(257), "a\nb".to_owned(), "\u{202e}71 boj".to_owned()] {
            assert_eq!(take(pending(id.clone())).outcome.word(), "deferred", "{id:?}");
        }
    }

    #[test]
    fn details_are_cleaned_and_bounded() {
        let mut reported = Reported::new([0].into_iter());
        let details = vec![("na\u{1b}me".to_owned(), "x".repeat(1000)); 100];
        let outcome = wit::RecipientOutcome {
            remote_id: Some("a\r\nb".to_owned()),
            details,
            ..about(0, wit::Outcome::Delivered(said(250, 2)))
        };
        reported.take(outcome, &log());
        let got = reported.into_outcomes().remove(0);
        assert_eq!(
            (got.details.len(), got.remote_id.as_deref()),
            (RecipientOutcome::MAX_DETAILS, Some("a b"))
        );
        assert!(got.details.iter().all(|(n, v)| n == "name" && v.len() <= RecipientOutcome::MAX_DETAIL_TEXT));
    }

    #[test]
    fn the_agents_own_words_are_cut_for_the_limit_and_not_the_limit_for_them() {
        let log = log();
        log.hit(Limit::HttpRequests);
        let mut reported = Reported::new([0].into_iter());
        let text = "x".repeat(1000);
        let response = wit::Response { text, ..said(451, 4) };
        let deferral = wit::Deferral { response, class: String::new(), retry_after: None };
        reported.take(about(0, wit::Outcome::Deferred(deferral)), &log);
        let got = reported.into_outcomes().remove(0);
        let text = &got.outcome.response().text;
        assert!(text.ends_with("x… (limit http_requests = 100 in start)"), "{text}");
        assert_eq!(text.len(), Response::MAX_TEXT);
    }

    #[test]
    fn a_receipt_whose_code_does_not_fit_is_ignored() {
        let receipt = |state| wit::Receipt { id: "r".to_owned(), address: None, state, details: vec![] };
        let said = vec![
            receipt(wit::ReceiptState::Delivered(said(550, 5))),
            receipt(wit::ReceiptState::Pending(said(150, 1))),
            receipt(wit::ReceiptState::Failed(wit::Failure {
                response: said(550, 5),
                class: "busy".to_owned(),
            })),
            receipt(wit::ReceiptState::Failed(wit::Failure {
                response: said(250, 2),
                class: "busy".to_owned(),
            })),
        ];
        let got = receipts(said, &log());
        assert!(matches!(
            got[..],
            [
                Receipt { state: ReceiptState::Pending(_), .. },
                Receipt { state: ReceiptState::Failed { .. }, .. }
            ]
        ));
    }

    #[test]
    fn a_receipt_keeps_the_address_that_it_names_or_is_not_believed() {
        let receipt = |address: &str| wit::Receipt {
            id: "r".to_owned(),
            address: Some(address.to_owned()),
            state: wit::ReceiptState::Delivered(said(250, 2)),
            details: vec![],
        };
        let long = "1".repeat(MAX_RECEIPT_ADDRESS + 1);
        let said = ["FAX:+49 30", " ", "", "+49\r\n30", &long].map(receipt).into();
        let got = receipts(said, &log());
        let addresses: Vec<_> = got.iter().map(|r| r.address.as_deref()).collect();
        assert_eq!(addresses, [Some("FAX:+49 30"), None, None]);
    }
}
