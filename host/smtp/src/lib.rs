//! SMTP without I/O: the grammar, the server's session machine and the client's side of the grammar.
//!
//! RFC 5321 with SIZE (1870), PIPELINING (2920), 8BITMIME (6152), ENHANCEDSTATUSCODES (2034), DSN (3461),
//! CHUNKING and BINARYMIME (3030). Nothing here reads a socket, a clock or a file: bytes come in, replies,
//! content and questions go out, so that every split of the input can be tested.

mod bdat;
pub mod client;
mod command;
mod data;
mod data_writer;
mod header;
mod intake;
mod limits;
mod params;
mod path;
mod reply;
mod reply_reader;
mod session;
mod verdict;
pub mod xtext;

pub use client::{Capabilities, ClientError};
pub use command::{Command, CommandError, MAX_HELO_LENGTH, Outline};
pub use data::{DataFlaw, DataReader};
pub use data_writer::{DataError, DataWriter, LineEnds};
pub use header::HeaderFacts;
pub use limits::{Extensions, Limits, SessionConfig};
pub use params::{
    Body, MAX_ENVID_LENGTH, MAX_ORCPT_LENGTH, MailParams, Notify, OriginalRecipient, ParamError, RcptParams,
    Ret,
};
pub use path::{ForwardPath, MAX_DOMAIN_LENGTH, MAX_MAILBOX_LENGTH, Mailbox, PathError, ReversePath};
pub use reply::EnhancedCode;
pub use reply_reader::{MAX_REPLY_LINE, MAX_REPLY_LINES, Reply, ReplyError, ReplyReader};
pub use session::{MailRequest, ReceivedMessage, RecipientRequest, Session, Step};
pub use verdict::Verdict;
