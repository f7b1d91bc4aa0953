//! Files as messages: pickup directories, where programs put messages as files, and replay directories, where messages come
//! back that were exported with their envelopes.
//!
//! [`door`] moves files and hands messages in; what is in a file is decided by pure functions: [`pickup`] and [`replay`] make
//! a [`Letter`] of its header, or a [`Refusal`]. How a file is taken so that it is sent once, whatever crashes when, is told
//! in `postern_drop::intake`; the id by which the store knows it again is made in [`content`].

mod content;
pub mod door;
mod header;
mod hints;
pub mod import;
pub mod pickup;
mod rate;
pub mod replay;
mod submission;

use postern_model::{BodyType, Priority, Recipient, Response, Return};

/// What a file says: an envelope, and the header that the message gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// The reverse-path; empty for the null one.
    pub sender: String,
    /// Its recipients; never empty.
    pub recipients: Vec<Recipient>,
    /// The header as it goes on, with CRLF line ends and the empty line at its end.
    pub header: Vec<u8>,
    /// Where the body begins in the file.
    pub body_at: usize,
    /// The Message-ID, for views.
    pub internet_message_id: Option<String>,
    /// The subject, decoded.
    pub subject: Option<String>,
    /// What else the envelope says.
    pub extras: Extras,
}

/// Parts of an envelope that only a replayed message has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// ENVID.
    pub envelope_id: Option<String>,
    /// RET.
    pub ret: Option<Return>,
    /// BODY; `None`: what the content has.
    pub body: Option<BodyType>,
    /// What the first client called itself.
    pub helo: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// It never expires.
    pub must_deliver: bool,
    /// Extension properties.
    pub properties: Vec<(String, String)>,
}

/// Why a file is not taken as a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// What is wrong and what to do, for people.
    pub response: Response,
    /// Whom to tell by a DSN, and about which recipients; `None`: nobody, the file is set aside.
    pub tell: Option<Box<Letter>>,
}

impl Refusal {
    /// The file is no message that could be sent, and is set aside.
    fn bad(text: &str) -> Self {
        Self { response: Response::new(554, (5, 6, 0), text), tell: None }
    }

    /// The message is one, and is refused; its sender is told.
    fn report(status: (u8, u16, u16), text: &str, letter: Letter) -> Self {
        Self { response: Response::new(554, status, text), tell: Some(Box::new(letter)) }
    }
}

/// What the rules of a directory need besides the file.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The directory.
    pub door: &'a crate::config::FileDoorConfig,
    /// The folder that the file lay in.
    pub folder: &'a crate::config::FolderConfig,
    /// The host's name, for Message-IDs.
    pub host_name: &'a str,
    /// The time now.
    pub now: jiff::Timestamp,
}
