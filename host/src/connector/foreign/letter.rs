//! Letter: an item in the words of the drop crate.

use std::io::{self, Read};

use postern_drop::DropError;
use postern_drop::profile::exchange::Block;
use postern_drop::profile::{Addressee, Envelope, Letter, MessageSource, Notify, Urgency, View, Wishes};
use postern_model::{Content, DeliveryRequest, Item, Priority, Recipient, Return};
use sha2::{Digest as _, Sha256};

use super::{NotPublished, view};
use crate::export::{self, Addresses};

/// What a letter borrows from.
pub(super) struct Owned<'r> {
    request: &'r DeliveryRequest,
    host: &'r str,
    id: String,
    message_id: String,
    recipients: Vec<Addressee>,
    sha256: Option<String>,
    view: Option<View>,
    block: Option<Block>,
}

impl<'r> Owned<'r> {
    /// The letter for the queued recipients of an item.
    pub(super) fn new(request: &'r DeliveryRequest, host: &'r str) -> Self {
        Self {
            request,
            host,
            id: request.item.id.to_string(),
            message_id: request.message.id.to_string(),
            recipients: request.recipients().map(addressee).collect(),
            sha256: None,
            view: None,
            block: None,
        }
    }

    /// Reads of the content what the profile wishes to know.
    ///
    /// # Errors
    /// When it cannot be read, or can never be parsed.
    pub(super) fn see(&mut self, content: &Content, wishes: Wishes) -> Result<(), NotPublished> {
        let unreadable = |source| NotPublished::Directory(DropError::Content { source });
        if wishes.header {
            self.view = Some(view::view(content, wishes).map_err(unreadable)??);
        }
        if wishes.block {
            let envelope = &self.request.message.envelope;
            self.block = Some(export::block(envelope, self.request.recipients(), Addresses::Routed));
        }
        if wishes.checksum {
            self.sha256 = Some(checksum(content).map_err(unreadable)?);
        }
        Ok(())
    }

    /// How many recipients it has.
    pub(super) fn recipients(&self) -> usize {
        self.recipients.len()
    }

    /// The letter itself.
    pub(super) fn letter(&self, number: Option<u64>) -> Letter<'_> {
        let (item, envelope) = (&self.request.item, &self.request.message.envelope);
        let helo = envelope.helo.as_deref().unwrap_or("unknown");
        let mut letter = named(item, &self.id, &self.recipients, number);
        letter.message_id = &self.message_id;
        letter.host = self.host;
        letter.envelope = Envelope {
            return_path: &envelope.reverse_path,
            envelope_id: envelope.envelope_id.as_deref(),
            ret: envelope.ret.map(|ret| match ret {
                Return::Full => "full",
                Return::Headers => "headers",
            }),
            client: envelope.client.map_or_else(String::new, |ip| format!("{helo} ([{ip}])")),
            submitter: envelope.submitter.as_deref(),
            protocol: &envelope.protocol,
            received_at: envelope.received_at,
        };
        letter.size = self.request.content.size();
        letter.sha256.clone_from(&self.sha256);
        letter.view = self.view.as_ref();
        letter.block = self.block.as_ref();
        letter
    }
}

/// What of a letter is known from the item alone: enough for the names of its files.
pub(super) fn named<'a>(
    item: &Item,
    id: &'a str,
    recipients: &'a [Addressee],
    number: Option<u64>,
) -> Letter<'a> {
    Letter {
        id,
        message_id: "",
        number,
        host: "",
        queued_at: item.enqueued_at,
        expires_at: item.expires_at,
        urgency: match item.priority {
            Priority::Low => Urgency::Low,
            Priority::Normal => Urgency::Normal,
            Priority::High => Urgency::High,
        },
        envelope: Envelope {
            return_path: "",
            envelope_id: None,
            ret: None,
            client: String::new(),
            submitter: None,
            protocol: "",
            received_at: item.enqueued_at,
        },
        recipients,
        size: 0,
        sha256: None,
        view: None,
        block: None,
    }
}

/// A recipient in the words of the drop crate.
pub(super) fn addressee(recipient: &Recipient) -> Addressee {
    let (address, notify) = (&recipient.address, recipient.notify_or_default());
    let local = address.smtp_parts().map_or(address.address(), |(local, _)| local);
    Addressee {
        index: recipient.index,
        address: address.display(),
        kind: address.kind().as_str().to_owned(),
        local: local.to_owned(),
        original: recipient
            .original
            .as_ref()
            .map(|original| format!("{};{}", original.kind, original.address)),
        notify: Notify { success: notify.success, failure: notify.failure, delay: notify.delay },
        properties: recipient.properties.clone(),
    }
}

/// The content as the drop crate reads it.
pub(super) struct Source<'a>(pub(super) &'a Content);

impl MessageSource for Source<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        self.0.reader().map(|reader| Box::new(reader) as Box<dyn Read>)
    }
}

fn checksum(content: &Content) -> io::Result<String> {
    let (mut reader, mut sum) = (content.reader()?, Sha256::new());
    let mut piece = vec![0; 64 * 1024];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => sum.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
