//! The `inbound` interface: mail that comes back from the far side goes in through the host's ordinary door.

use postern_model::text::one_line;
use wasmtime::Result;

use crate::BoxFuture;
use crate::bindings::imported::inbound as wit;
use crate::limits::Limit;
use crate::log::Capability;
use crate::recording::{Asked, Taped, question};
use crate::state::State;

/// The longest remote id, in bytes.
const MAX_REMOTE_ID: usize = 1024;
/// The most that is told of a refusal, in bytes.
const MAX_REFUSAL: usize = 500;

/// A message that an agent hands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundMessage {
    /// The far side's id: a message with an id that was handed in before is not made twice.
    pub remote_id: String,
    /// The reverse-path; empty for the null one.
    pub reverse_path: String,
    /// The recipients, as they stand in an envelope.
    pub recipients: Vec<String>,
    /// The RFC 5322 bytes.
    pub content: Vec<u8>,
}

/// Takes messages of one connector's agent in.
pub trait Inbound: Send + Sync {
    /// Takes a message in and gives its id. Durable when it is done.
    ///
    /// # Errors
    /// Why not, for the agent to pass on.
    fn submit(&self, message: InboundMessage) -> BoxFuture<'_, Result<String, String>>;
}

impl State {
    async fn hand_in(&mut self, said: wit::Submission) -> std::result::Result<String, String> {
        let Some(inbound) = self.shared.inbound.clone() else {
            self.log.refused(Capability::Inbound, &one_line(&said.remote_id, 60), "inbound is not granted");
            return Err("inbound is not granted".to_owned());
        };
        let limits = &self.shared.limits;
        if said.remote_id.is_empty() || said.remote_id.len() > MAX_REMOTE_ID {
            return Err(format!("a remote id has 1 to {MAX_REMOTE_ID} bytes"));
        }
        if said.recipients.is_empty() || said.recipients.len() > limits.inbound_recipients {
            if !said.recipients.is_empty() {
                self.log.hit(Limit::InboundRecipients);
            }
            return Err(format!(
                "a message has 1 to inbound_recipients = {} recipients",
                limits.inbound_recipients
            ));
        }
        if said.content.len() > limits.inbound_bytes {
            self.log.hit(Limit::InboundBytes);
            return Err(format!("the content has more than inbound_bytes = {} bytes", limits.inbound_bytes));
        }
        let message = InboundMessage {
            remote_id: said.remote_id,
            reverse_path: said.reverse_path,
            recipients: said.recipients,
            content: said.content,
        };
        let taken = inbound.submit(message).await;
        taken.map_err(|why| {
            self.log.remark(&format!("a message was not taken in: {}", one_line(&why, MAX_REFUSAL)));
            one_line(&why, MAX_REFUSAL)
        })
    }
}

impl wit::Host for State {
    async fn submit(&mut self, said: wit::Submission) -> Result<std::result::Result<String, String>> {
        let asked = self.ask("inbound.submit", |masks| {
            question([
                ("remote_id", said.remote_id.write(masks)),
                ("reverse_path", said.reverse_path.write(masks)),
                ("recipients", said.recipients.write(masks)),
                ("content", said.content.write(masks)),
            ])
        })?;
        let note = match asked {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        let answer = self.hand_in(said).await;
        self.answered(note, &answer);
        Ok(answer)
    }
}
