//! What an agent is spared: messages that its description says it does not take. Pure.

use postern_model::{
    Deferral, DeliveryReport, DeliveryRequest, FailureClass, Outcome, RecipientOutcome, Response,
};

/// Media types that a response names.
const MAX_KINDS_TOLD: usize = 10;

/// Why an agent does not get a message, by its own description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotTaken {
    /// What its senders are told.
    response: Response,
    class: FailureClass,
}

impl NotTaken {
    /// Of a message that is larger than the agent takes (RFC 3463: 5.3.4); `None` when it fits.
    pub(super) fn by_size(max_size: Option<u32>, size: u64) -> Option<Self> {
        let limit = max_size.filter(|limit| size > u64::from(*limit))?;
        let text = format!("the message has {size} bytes, and the delivery agent takes at most {limit}");
        let class = FailureClass::new("too-large");
        Some(Self { response: Response::new(552, (5, 3, 4), &text), class })
    }

    /// Of a message in which nothing is of a media type that the agent can deliver (RFC 3463: 5.6.1); `None` when there
    /// is, or the agent names no types.
    pub(super) fn by_media(accepts: &[String], parts: &[String]) -> Option<Self> {
        let is_taken = |part: &String| accepts.iter().any(|kind| covers(kind, part));
        if accepts.is_empty() || parts.iter().any(is_taken) {
            return None;
        }
        let kinds = accepts.iter().take(MAX_KINDS_TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = format!("the delivery agent takes {kinds}, and the message has nothing of that");
        let class = FailureClass::new("content-rejected");
        Some(Self { response: Response::new(554, (5, 6, 1), &text), class })
    }

    /// The report: every recipient fails. The agent was not called.
    pub(super) fn report(self, request: &DeliveryRequest) -> DeliveryReport {
        let outcome = Outcome::Failed { response: self.response, class: self.class };
        let of =
            |recipient: &postern_model::Recipient| RecipientOutcome::new(recipient.index, outcome.clone());
        let outcomes = request.recipients().map(of).collect();
        DeliveryReport { outcomes, not_begun: true, ..DeliveryReport::default() }
    }

    /// The report while the version is on trial: the version that delivers may take the message.
    pub(super) fn report_on_trial(self) -> DeliveryReport {
        let text = format!("the version on trial does not take it: {}", self.response.text);
        let (class, detail) = (self.class, self.response.status);
        let fault = Deferral::new(451, (4, detail.1, detail.2), &text, class.as_str());
        DeliveryReport { fault: Some(fault), not_begun: true, ..DeliveryReport::default() }
    }
}

/// Whether a media type, or a range of them such as `image/*`, is or holds the type of a part (RFC 9110, 12.5.1).
fn covers(kind: &str, part: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.strip_suffix("/*") {
        Some("*") => true,
        Some(main) => part.split_once('/').is_some_and(|(part, _)| part == main),
        None => kind == part,
    }
}

/// Puts the reports about what was delivered between those that were there before, in the order of the requests.
pub(super) fn in_order(
    known: Vec<Option<DeliveryReport>>,
    delivered: Vec<DeliveryReport>,
) -> Vec<DeliveryReport> {
    let mut delivered = delivered.into_iter();
    known.into_iter().map(|known| known.or_else(|| delivered.next()).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_store::conformance::sample;

    use super::*;

    fn request(bytes: usize) -> DeliveryRequest {
        let put = sample::put(&[sample::hop("box.example")], sample::content(bytes));
        let item = put.items[0].clone();
        DeliveryRequest { message: put.message, item: Arc::new(item), content: put.content, attempt: 1 }
    }

    #[test]
    fn a_message_is_too_large_when_it_is_larger_than_the_agent_says() {
        let request = request(1000);
        let size = request.content.size();
        let limit = u32::try_from(size).unwrap();
        assert_eq!(NotTaken::by_size(None, size), None);
        assert_eq!(NotTaken::by_size(Some(limit), size), None);
        let report = NotTaken::by_size(Some(limit - 1), size).unwrap().report(&request);
        assert_eq!(report.outcomes.len(), request.recipients().count());
        let Outcome::Failed { response, class } = &report.outcomes[0].outcome else { panic!("{report:?}") };
        let told = format!("the message has {size} bytes, and the delivery agent takes at most {}", size - 1);
        assert_eq!(response.to_string(), format!("552 5.3.4 {told}"));
        assert_eq!(class, &FailureClass::new("too-large"));
        assert!(report.not_begun, "the agent was not called");
    }

    #[test]
    fn a_message_without_a_part_of_a_named_type_is_not_taken() {
        let taken = |accepts: &[&str], parts: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            NotTaken::by_media(&owned(accepts), &owned(parts)).is_none()
        };
        let letter = ["multipart/mixed", "text/plain", "image/tiff"];
        assert!(taken(&[], &["application/zip"]), "who names none takes all");
        assert!(taken(&["text/plain"], &letter) && taken(&["IMAGE/*"], &letter) && taken(&["*/*"], &letter));
        assert!(taken(&["text/plain; charset=utf-8"], &letter));
        assert!(!taken(&["application/pdf", "text/html"], &letter));
        assert!(!taken(&["text"], &letter) && !taken(&["imag/*"], &letter) && !taken(&["text/*"], &[]));
    }

    #[test]
    fn on_trial_nothing_fails_for_what_only_the_trial_does_not_take() {
        let not_taken = NotTaken::by_media(&["application/pdf".to_owned()], &["text/plain".to_owned()]);
        let report = not_taken.unwrap().report_on_trial();
        assert!(report.outcomes.is_empty());
        let fault = report.fault.unwrap().response.to_string();
        assert!(fault.starts_with("451 4.6.1 the version on trial does not take it"), "{fault}");
    }

    #[test]
    fn reports_come_in_the_order_of_the_requests() {
        let fault = |text: &str| DeliveryReport::broken(Deferral::new(451, (4, 3, 0), text, ""));
        let known = vec![None, Some(fault("known")), None, None];
        let reports = in_order(known, vec![fault("first"), fault("second")]);
        let texts = reports.into_iter().map(|report| report.fault.map(|fault| fault.response.text));
        let expected = [Some("first"), Some("known"), Some("second"), None];
        assert_eq!(texts.collect::<Vec<_>>(), expected.map(|text| text.map(str::to_owned)));
    }
}
