//! Receiving: DATA and BDAT while their bytes come in, and what is answered at their end.

use super::{Question, ReceivedMessage, Session, State, Step};
use crate::bdat::Chunk;
use crate::intake::{Fault, Intake};
use crate::{DataReader, EnhancedCode, Limits};

/// What is coming in.
#[derive(Debug)]
pub(super) enum Receiving {
    /// The content behind DATA.
    Data {
        reader: DataReader,
        intake: Intake,
        /// The host was told to throw its part away.
        discarded: bool,
    },
    /// A chunk behind BDAT; its message is in the transaction.
    Chunk { chunk: Chunk, refusal: Option<(u16, &'static str)>, discarded: u64 },
}

impl Receiving {
    pub(super) fn data(limits: &Limits) -> Self {
        Self::Data { reader: DataReader::new(), intake: Intake::new(limits), discarded: false }
    }

    pub(super) fn chunk(size: u64, last: bool, refusal: Option<(u16, &'static str)>) -> Self {
        Self::Chunk { chunk: Chunk::new(size, last), refusal, discarded: 0 }
    }
}

impl Session {
    /// Takes content off the input.
    pub(super) fn receive(
        &mut self,
        input: &mut &[u8],
        output: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Step> {
        match std::mem::replace(&mut self.state, State::Commands) {
            State::Receiving(Receiving::Data { reader, intake, discarded }) => {
                self.receive_data(reader, intake, discarded, input, output, content)
            }
            State::Receiving(Receiving::Chunk { chunk, refusal, discarded }) => {
                self.receive_chunk(chunk, refusal, discarded, input, output, content)
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    fn receive_data(
        &mut self,
        mut reader: DataReader,
        mut intake: Intake,
        mut discarded: bool,
        input: &mut &[u8],
        output: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Step> {
        let ended = reader.read(input, |run| intake.take(run, content));
        let fault = reader.flaw().map(Fault::from).or(intake.fault());
        if fault.is_some() && !discarded {
            self.discard = intake.is_stored();
            discarded = true;
            intake.close();
        }
        match (ended, fault) {
            (true, Some(fault)) => {
                self.give_up();
                self.refuse(fault, output);
                None
            }
            (true, None) => self.complete(intake, false),
            (false, Some(fault)) if intake.discarded() > self.config.limits.max_discarded => {
                self.cut_off(fault, output);
                None
            }
            (false, _) => {
                self.state = State::Receiving(Receiving::Data { reader, intake, discarded });
                if self.discard { None } else { Some(Step::NeedInput) }
            }
        }
    }

    fn receive_chunk(
        &mut self,
        mut chunk: Chunk,
        refusal: Option<(u16, &'static str)>,
        mut discarded: u64,
        input: &mut &[u8],
        output: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Step> {
        let bytes = chunk.take(input);
        let mut fault = None;
        match &mut self.transaction {
            Some(transaction) if refusal.is_none() => {
                let intake = transaction.chunks.get_or_insert_with(|| Intake::new(&self.config.limits));
                intake.take(bytes, content);
                fault = intake.fault();
                discarded = intake.discarded();
            }
            _ => discarded += bytes.len() as u64,
        }
        if !chunk.is_complete() {
            if discarded > self.config.limits.max_discarded {
                match fault {
                    Some(fault) => self.cut_off(fault, output),
                    None => self.hang_up(output, "too much data"),
                }
                return None;
            }
            self.state = State::Receiving(Receiving::Chunk { chunk, refusal, discarded });
            return Some(Step::NeedInput);
        }
        match (refusal, fault) {
            (Some((code, text)), _) => self.refuse_chunk(code, text, output),
            (None, Some(fault)) => {
                self.give_up();
                self.aftermath = true;
                self.refuse(fault, output);
            }
            (None, None) if chunk.last => {
                let chunks = self.transaction.as_mut().and_then(|transaction| transaction.chunks.take());
                return chunks.and_then(|intake| self.complete(intake, true));
            }
            (None, None) => self.reply(output, 250, EnhancedCode::new(2, 0, 0), "chunk received"),
        }
        None
    }

    fn refuse_chunk(&mut self, code: u16, text: &str, output: &mut Vec<u8>) {
        let sequence = EnhancedCode::new(5, 5, 1);
        match code {
            554 => self.reply(output, code, sequence, text),
            503 => self.misplaced(output, text),
            _ => self.protocol_error(output, code, sequence, text),
        }
    }

    /// The message is whole: the host decides.
    fn complete(&mut self, intake: Intake, chunked: bool) -> Option<Step> {
        let transaction = self.transaction.take()?;
        let (size, header) = intake.finish();
        self.question = Some(Question::Message);
        Some(Step::Message(ReceivedMessage {
            mail: transaction.mail,
            recipients: transaction.recipients,
            size,
            header,
            chunked,
        }))
    }

    /// Ends the session in the middle of a message that has no end. It gets the answer that its end would have
    /// got: after a 421 the client would come again with the same message.
    fn cut_off(&mut self, fault: Fault, output: &mut Vec<u8>) {
        self.refuse(fault, output);
        self.give_up();
        self.state = State::Closed;
    }

    fn refuse(&self, fault: Fault, output: &mut Vec<u8>) {
        let (code, enhanced, text) = match fault {
            Fault::LineEnd => {
                (550, EnhancedCode::new(5, 6, 11), "bare CR or LF in the message: lines end with CRLF")
            }
            Fault::Nul => (550, EnhancedCode::new(5, 6, 0), "NUL in the message"),
            Fault::TooLarge => (552, EnhancedCode::new(5, 3, 4), "message size exceeds the limit"),
            Fault::HeaderTooLarge => (552, EnhancedCode::new(5, 3, 4), "message header exceeds the limit"),
            Fault::TooManyHops => {
                (554, EnhancedCode::new(5, 4, 6), "too many hops: this looks like a mail loop")
            }
        };
        self.reply(output, code, enhanced, text);
    }
}
