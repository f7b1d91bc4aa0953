//! What an agent is spared: messages that are larger than its description says it takes. Pure.

use postern_model::{DeliveryReport, DeliveryRequest, FailureClass, Outcome, RecipientOutcome, Response};

/// The report about a message that is larger than the agent takes (RFC 3463: 5.3.4); `None` when it fits.
pub(super) fn too_large(max_size: Option<u32>, request: &DeliveryRequest) -> Option<DeliveryReport> {
    let (limit, size) = (max_size?, request.content.size());
    if size <= u64::from(limit) {
        return None;
    }
    let text = format!("the message has {size} bytes, and the delivery agent takes at most {limit}");
    let response = Response::new(552, (5, 3, 4), &text);
    let outcome = Outcome::Failed { response, class: FailureClass::new("too-large") };
    let outcomes = request
        .recipients()
        .map(|recipient| RecipientOutcome::new(recipient.index, outcome.clone()))
        .collect();
    // The agent was not called.
    Some(DeliveryReport { outcomes, not_begun: true, ..DeliveryReport::default() })
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

    use postern_model::Deferral;
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
        let size = u32::try_from(request.content.size()).unwrap();
        assert!(too_large(None, &request).is_none() && too_large(Some(size), &request).is_none());
        let report = too_large(Some(size - 1), &request).unwrap();
        assert_eq!(report.outcomes.len(), request.recipients().count());
        let Outcome::Failed { response, class } = &report.outcomes[0].outcome else { panic!("{report:?}") };
        assert_eq!(
            response.to_string(),
            format!(
                "552 5.3.4 the message has {size} bytes, and the delivery agent takes at most {}",
                size - 1
            )
        );
        assert_eq!(class, &FailureClass::new("too-large"));
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
