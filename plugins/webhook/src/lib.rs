//! The webhook agent: posts each message to a web address and turns the answer into outcomes. The wire format is
//! described in `README.md` beside this crate.

mod answer;
mod far_end;
mod poll;
mod request;
mod retry_after;
mod settings;
mod url;

use postern_agent_sdk::{
    Agent, Deferral, Description, Item, NextHop, Outcome, PollReceipts, ReadError, Receipt, Refusal, Report,
    Response, class, host, log,
};

pub use settings::{ContentMode, Settings, Size};

/// The version of the wire format, in every envelope.
pub const FORMAT_VERSION: u32 = 1;

/// An open connection: the settings, checked, and the next hop. The host pools the real connections.
pub struct Webhook {
    settings: Settings,
    hop: NextHop,
}

impl Agent for Webhook {
    type Settings = Settings;

    fn describe() -> Description {
        let description = Description::new("webhook", env!("CARGO_PKG_VERSION"), "HTTP");
        // Settings that do not fit are told when a connection opens; here they only mean that the default holds.
        let limit = match postern_agent_sdk::settings::<Settings>() {
            Ok(settings) if settings.content == ContentMode::None => None,
            Ok(settings) => Some(settings.max_size.bytes()),
            Err(_) => Some(Size::DEFAULT.bytes()),
        };
        Description { max_size: limit, ..description }
    }

    fn open(hop: &NextHop, settings: Settings) -> Result<Self, Refusal> {
        settings.check().map_err(|text| {
            Refusal::DeferQueue(Deferral::new(Response::new(451, (4, 3, 5), &text), class::UNSPECIFIED))
        })?;
        Ok(Self { settings, hop: hop.clone() })
    }

    fn label(&self) -> String {
        url::origin(&self.settings.url).unwrap_or(&self.settings.url).to_owned()
    }

    fn deliver(&mut self, item: &Item) -> Result<Report, String> {
        let recipients = item.recipients();
        let envelope = request::envelope(item, &recipients, &self.hop, &self.settings);
        let content = match self.content(item, request::overhead(&envelope)) {
            Ok(content) => content,
            Err(ReadError::Host(text)) => return Err(format!("the content could not be read: {text}")),
            Err(too_large @ ReadError::TooLarge { .. }) => {
                let response = Response::new(552, (5, 3, 4), &too_large.to_string());
                return Ok(Report::all(&recipients, &Outcome::failed(response, class::TOO_LARGE)));
            }
        };
        let (boundary, body) = request::multipart(&envelope, content, || host::random(16));
        let key = request::idempotency_key(&item.envelope().item_id, &recipients);
        let answer = request::post(&self.settings, &boundary, &key, body).send();
        let judged = answer::judge(answer, &recipients, &self.settings, host::now().0);
        for warning in &judged.warnings {
            log::warn(warning);
        }
        Ok(judged.report)
    }
}

impl Webhook {
    fn content(&self, item: &Item, reserve: usize) -> Result<Option<Vec<u8>>, ReadError> {
        match self.settings.content {
            ContentMode::Raw => item.read_all(self.settings.max_size.bytes(), reserve).map(Some),
            ContentMode::None => Ok(None),
        }
    }
}

impl PollReceipts for Webhook {
    fn poll(settings: Settings, receipt_ids: &[String]) -> Result<Vec<Receipt>, String> {
        settings.check()?;
        Ok(poll::poll(&settings, receipt_ids))
    }
}

postern_agent_sdk::export_agent!(Webhook, receipts);

#[cfg(test)]
mod tests;
