//! The `item` resource: the message as the guest sees it.

use std::sync::Arc;

use bytes::Bytes;
use postern_model::{Content, DeliveryRequest, Priority, Recipient, Return};
use wasmtime::Result;
use wasmtime::component::Resource;

use crate::bindings::imported::{mail as wit, types};
use crate::limits::MAX_READ;
use crate::outcome::Reported;
use crate::state::State;
use crate::views::Views;

/// What stands behind a handle; the item itself lies in the store's [`State`].
pub enum ItemResource {}

/// One item in the call that delivers it.
pub(crate) struct Item {
    request: DeliveryRequest,
    reported: Reported,
    /// Parsed when first asked for, then kept until the call ends.
    views: Option<std::result::Result<Arc<Views>, String>>,
}

impl Item {
    pub(crate) fn new(request: &DeliveryRequest) -> Self {
        let reported = Reported::new(request.recipients().map(|r| r.index));
        Self { request: request.clone(), reported, views: None }
    }

    pub(crate) fn into_reported(self) -> Reported {
        self.reported
    }

    fn envelope(&self) -> wit::Envelope {
        let (message, item) = (&self.request.message, &self.request.item);
        let envelope = &message.envelope;
        wit::Envelope {
            item_id: item.id.to_string(),
            attempt: self.request.attempt,
            reverse_path: envelope.reverse_path.clone(),
            envelope_id: envelope.envelope_id.clone(),
            return_content: envelope.ret.map(|ret| match ret {
                Return::Full => "FULL".to_owned(),
                Return::Headers => "HDRS".to_owned(),
            }),
            helo: envelope.helo.clone(),
            submitter: envelope.submitter.clone(),
            received_at: envelope.received_at.to_string(),
            expires_at: item.expires_at.map(|at| at.to_string()),
            must_deliver: envelope.must_deliver,
            priority: match item.priority {
                Priority::Low => wit::Priority::Low,
                Priority::Normal => wit::Priority::Normal,
                Priority::High => wit::Priority::High,
            },
            size: u32::try_from(self.request.content.size()).unwrap_or(u32::MAX),
            properties: envelope.properties.clone(),
        }
    }

    fn recipients(&self) -> Vec<wit::Recipient> {
        self.request.recipients().map(|r| self.recipient(r)).collect()
    }

    fn recipient(&self, recipient: &Recipient) -> wit::Recipient {
        wit::Recipient {
            index: recipient.index,
            address_type: recipient.address.kind().as_str().to_owned(),
            address: recipient.address.address().to_owned(),
            original: recipient.original.as_ref().map(|o| (o.kind.clone(), o.address.clone())),
            notify: recipient.notify.map(|n| {
                let words = [
                    (n.success, wit::Notify::Success),
                    (n.failure, wit::Notify::Failure),
                    (n.delay, wit::Notify::Delay),
                ];
                words.into_iter().filter_map(|(set, word)| set.then_some(word)).collect()
            }),
            idempotency_key: self.request.idempotency_key(recipient),
            properties: recipient.properties.clone(),
        }
    }
}

/// A range of the content, sliced where it lies in memory; a file is read off the guests' threads. It stands in for the
/// generated [`wit::HostItem::read`], which would copy every range into a vector first.
pub(crate) async fn read(
    state: &mut State,
    item: &Resource<ItemResource>,
    offset: u32,
    length: u32,
) -> Result<std::result::Result<Bytes, String>> {
    let content = state.item(item.rep())?.request.content.clone();
    let length = length.min(MAX_READ) as usize;
    let read = match content {
        Content::Memory(_) => content.read_range(offset.into(), length),
        Content::File { .. } => {
            tokio::task::spawn_blocking(move || content.read_range(offset.into(), length))
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        }
    };
    Ok(read.map_err(|error| format!("the content cannot be read: {}", error.kind())))
}

impl State {
    /// The parsed views of an item. Parsing is bounded by the limits and by what memory the host has for it.
    async fn views(
        &mut self,
        item: &Resource<ItemResource>,
    ) -> Result<std::result::Result<Arc<Views>, String>> {
        let (shared, log) = (self.shared.clone(), self.log.clone());
        let known = self.item(item.rep())?;
        if let Some(views) = &known.views {
            return Ok(views.clone());
        }
        let content = known.request.content.clone();
        let views = Views::parse(content, &log, &shared.parse_budget).await.map(Arc::new);
        self.item(item.rep())?.views = Some(views.clone());
        Ok(views)
    }
}

impl types::Host for State {}

impl wit::Host for State {}

impl wit::HostItem for State {
    fn envelope(&mut self, item: Resource<ItemResource>) -> Result<wit::Envelope> {
        Ok(self.item(item.rep())?.envelope())
    }

    fn recipients(&mut self, item: Resource<ItemResource>) -> Result<Vec<wit::Recipient>> {
        Ok(self.item(item.rep())?.recipients())
    }

    fn read(
        &mut self,
        item: Resource<ItemResource>,
        offset: u32,
        length: u32,
    ) -> Result<std::result::Result<Vec<u8>, String>> {
        let content = self.item(item.rep())?.request.content.clone();
        let read = content.read_range(offset.into(), length.min(MAX_READ) as usize);
        Ok(read.map(Into::into).map_err(|error| error.kind().to_string()))
    }

    async fn headers(
        &mut self,
        item: Resource<ItemResource>,
    ) -> Result<std::result::Result<Vec<(String, String)>, String>> {
        Ok(self.views(&item).await?.map(|views| views.headers.clone()))
    }

    async fn text(
        &mut self,
        item: Resource<ItemResource>,
        max: u32,
    ) -> Result<std::result::Result<Option<String>, String>> {
        Ok(self.views(&item).await?.map(|views| views.text(max as usize)))
    }

    async fn parts(
        &mut self,
        item: Resource<ItemResource>,
    ) -> Result<std::result::Result<Vec<wit::Part>, String>> {
        Ok(self.views(&item).await?.map(|views| views.parts.iter().map(|part| part.about.clone()).collect()))
    }

    async fn read_part(
        &mut self,
        item: Resource<ItemResource>,
        index: u32,
        offset: u32,
        length: u32,
    ) -> Result<std::result::Result<Vec<u8>, String>> {
        Ok(self.views(&item).await?.and_then(|views| views.read_part(index, offset, length).map(Into::into)))
    }

    fn report(&mut self, item: Resource<ItemResource>, outcome: types::RecipientOutcome) -> Result<()> {
        let log = self.log.clone();
        self.item(item.rep())?.reported.take(outcome, &log);
        Ok(())
    }

    fn drop(&mut self, _item: Resource<ItemResource>) -> Result<()> {
        // The host ends the item when the call returns, dropped or not.
        Ok(())
    }
}
