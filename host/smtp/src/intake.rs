//! Intake: one message while it comes in: its size, its header, and what is wrong with it.

use crate::header::HeaderScanner;
use crate::{DataFlaw, HeaderFacts, Limits};

/// Why a message is refused though it was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 550 5.6.11: what Exchange answers to bare line feeds.
    LineEnd,
    /// 550 5.6.0.
    Nul,
    /// 552 5.3.4: the message.
    TooLarge,
    /// 552 5.3.4: its header.
    HeaderTooLarge,
    /// 554 5.4.6.
    TooManyHops,
}

impl From<DataFlaw> for Fault {
    fn from(flaw: DataFlaw) -> Self {
        match flaw {
            DataFlaw::LineEnd => Self::LineEnd,
            DataFlaw::Nul => Self::Nul,
        }
    }
}

/// Counts, looks and hands on. Once something is wrong nothing is handed on any more.
#[derive(Debug)]
pub(crate) struct Intake {
    max_size: u64,
    max_hops: usize,
    size: u64,
    header: HeaderScanner,
    /// Bytes that were handed on to the host.
    stored: u64,
    /// Nothing is handed on any more.
    closed: bool,
}

impl Intake {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_size: limits.max_message_size,
            max_hops: limits.max_hops,
            size: 0,
            header: HeaderScanner::new(limits.max_header_size),
            stored: 0,
            closed: false,
        }
    }

    /// Takes the next bytes of the message.
    pub(crate) fn take(&mut self, bytes: &[u8], content: &mut Vec<u8>) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        self.header.scan(bytes);
        self.closed |= self.fault().is_some();
        if !self.closed {
            content.extend_from_slice(bytes);
            self.stored += bytes.len() as u64;
        }
    }

    /// The first of all faults in their order of weight, so that the answer does not depend on the pieces in
    /// which the message came.
    pub(crate) fn fault(&self) -> Option<Fault> {
        if self.size > self.max_size {
            Some(Fault::TooLarge)
        } else if self.header.is_too_large() {
            Some(Fault::HeaderTooLarge)
        } else if self.header.hops() > self.max_hops {
            Some(Fault::TooManyHops)
        } else {
            None
        }
    }

    /// The message is refused for a reason that is not known here: nothing is handed on any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether the host holds bytes of it.
    pub(crate) fn is_stored(&self) -> bool {
        self.stored > 0
    }

    /// Bytes that were read but not handed on.
    pub(crate) fn discarded(&self) -> u64 {
        self.size - self.stored
    }

    /// The message is complete: its size and what its header told.
    pub(crate) fn finish(mut self) -> (u64, HeaderFacts) {
        (self.size, self.header.finish())
    }
}
