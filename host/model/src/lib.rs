//! The words of Postern as types: addresses, envelopes, items, outcomes, responses, events and ids.
//!
//! Every other crate of the host speaks these types. Nothing here does I/O (but for opening a
//! [`Content`]), and nothing here knows an async runtime, a database or a sandbox.

mod address;
mod agent_fault;
mod content;
mod delivery;
mod dsn;
mod envelope;
mod event;
mod id;
mod item;
mod next_hop;
mod outcome;
mod receipt;
mod response;
pub mod text;

pub use address::{AddressError, AddressType, TypedAddress};
pub use agent_fault::{AgentFault, AgentIdentity, AgentUse};
pub use content::Content;
pub use delivery::{Arrival, DeliveryReport, DeliveryRequest, NotOpened, Refusal, StateChange};
pub use dsn::{DsnKind, DsnRecipient, DsnRequest};
pub use envelope::{
    BodyType, Envelope, MessageInfo, Notify, Origin, OriginalRecipient, Priority, Recipient, Return,
};
pub use event::{EventKind, EventRecipient, TrackingEvent};
pub use id::{IdError, ItemId, MessageId};
pub use item::{Fate, Item, ItemRecipient, ItemState, RecipientState};
pub use next_hop::NextHop;
pub use outcome::{Deferral, FailureClass, Outcome, Pending, RecipientOutcome};
pub use receipt::{Receipt, ReceiptState, ReceiptWord};
pub use response::{EnhancedStatus, Response};
