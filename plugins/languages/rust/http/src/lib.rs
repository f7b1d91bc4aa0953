//! my-agent: posts the text of each message to a web address, once for each recipient.

use postern_agent_sdk::http::{Answer, Fault, Request};
use postern_agent_sdk::{
    Agent, Deferral, Description, Item, NextHop, Outcome, Recipient, Refusal, Report, Response, class,
};

/// The longest text that is posted, in bytes; what is longer is cut.
const MAX_TEXT: u32 = 64 << 10;

/// The connector's `settings` table.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where to post; the connector must grant it.
    pub url: String,
}

/// One open connection: HTTP itself is pooled by the host.
pub struct Poster {
    url: String,
}

impl Agent for Poster {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("my-agent", env!("CARGO_PKG_VERSION"), "HTTP")
    }

    fn open(_hop: &NextHop, settings: Settings) -> Result<Self, Refusal> {
        if settings.url.is_empty() {
            let deferral = Deferral::new("the setting `url` is empty", class::UNSPECIFIED);
            return Err(Refusal::DeferQueue(deferral));
        }
        Ok(Self { url: settings.url })
    }

    fn label(&self) -> String {
        self.url.clone()
    }

    fn deliver(&mut self, item: &Item) -> Result<Report, String> {
        let text = item.text(MAX_TEXT)?;
        let mut report = Report::default();
        for recipient in item.recipients() {
            let outcome = match &text {
                Some(text) => self.post(&recipient, text),
                None => Outcome::failed("there is no text in it", class::CONTENT_REJECTED),
            };
            report.push(recipient.index, outcome);
        }
        Ok(report)
    }
}

impl Poster {
    fn post(&self, recipient: &Recipient, text: &str) -> Outcome {
        let answer = Request::new("POST", &self.url)
            .header("Content-Type", "text/plain; charset=utf-8")
            .header("Idempotency-Key", &recipient.idempotency_key)
            .header("X-Recipient", &recipient.address)
            .body(text.as_bytes().to_vec())
            .send();
        match answer {
            Ok(answer) => outcome(&answer),
            Err(Fault::Timeout) => Outcome::deferred("no answer in time", class::TIMEOUT),
            Err(fault) => Outcome::deferred(fault.to_string(), class::SERVICE_UNAVAILABLE),
        }
    }
}

/// What an answer means for the recipient.
fn outcome(answer: &Answer) -> Outcome {
    let text = format!("HTTP status {}", answer.status);
    match answer.status {
        200..=299 => Outcome::delivered(text),
        429 => {
            let seconds = answer.header("Retry-After").and_then(|value| value.parse().ok());
            let response = Response::new(450, (4, 3, 2), &text);
            Outcome::Deferred(Deferral::new(response, class::THROTTLED).retry_after(seconds))
        }
        400..=499 => Outcome::failed(text, class::CONTENT_REJECTED),
        _ => Outcome::deferred(text, class::SERVICE_UNAVAILABLE),
    }
}

postern_agent_sdk::export_agent!(Poster);

#[cfg(test)]
mod tests {
    use super::*;
    use postern_agent_sdk::testing::{Host, TestItem, next_hop, requests};
    use postern_agent_sdk::{Connection, RecipientOutcome};

    fn deliver(answers: &[u16]) -> Vec<RecipientOutcome> {
        let mut host = Host::new().settings(r#"{"url": "https://sms.example/send"}"#);
        for status in answers {
            host = host.answer(Ok(Answer { status: *status, ..Answer::default() }));
        }
        host.install();
        let mut connection = Connection::<Poster>::new();
        connection.open(&next_hop()).unwrap();
        let mut item = TestItem::new(b"x").recipients(&["+4930123", "+4930124"]);
        item.text = Ok(Some("the text".to_owned()));
        connection.deliver(&item.item()).unwrap().outcomes
    }

    #[test]
    fn each_recipient_gets_a_post_of_its_own() {
        let outcomes = deliver(&[200, 422]);
        assert_eq!(outcomes[0].outcome, Outcome::delivered("HTTP status 200"));
        assert!(matches!(outcomes[1].outcome, Outcome::Failed(_)));
        let requests = requests();
        assert_eq!((requests.len(), &*requests[0].body), (2, b"the text".as_slice()));
        assert_ne!(requests[0].headers, requests[1].headers);
    }

    #[test]
    fn what_may_work_later_is_deferred() {
        for status in [429, 500, 503] {
            assert!(matches!(deliver(&[status])[0].outcome, Outcome::Deferred(_)), "{status}");
        }
        assert!(matches!(deliver(&[])[0].outcome, Outcome::Deferred(_)), "no connection");
    }
}
