//! Commands of a session: what each one does and answers.

use super::content::Receiving;
use super::line::Line;
use super::{Client, MailRequest, Question, RecipientRequest, Session, State, Step};
use crate::command::{Command, CommandError, Outline};
use crate::params::ParamError;
use crate::path::PathError;
use crate::reply::{clean, write_lines};
use crate::{Body, EnhancedCode, ForwardPath, MailParams, RcptParams, ReversePath};

const SEQUENCE: EnhancedCode = EnhancedCode::new(5, 5, 1);
const SYNTAX: EnhancedCode = EnhancedCode::new(5, 5, 2);
const ARGUMENT: EnhancedCode = EnhancedCode::new(5, 5, 4);
const TOO_BIG: EnhancedCode = EnhancedCode::new(5, 3, 4);
const DONE: EnhancedCode = EnhancedCode::new(2, 0, 0);

impl Session {
    /// Takes one command line off the input and obeys it.
    pub(super) fn command(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Option<Step> {
        match self.lines.next(input) {
            Line::Complete(line) => {
                let command = Command::parse(line, &self.config.extensions);
                if self.refusal.is_some() {
                    self.refuse_command(command, output);
                    return None;
                }
                match command {
                    Ok(command) => return self.obey(command, output),
                    Err(error) => self.faulty(error, output),
                }
            }
            Line::TooLong => self.protocol_error(output, 500, SYNTAX, "command line too long"),
            Line::BareLf => {
                self.protocol_error(output, 500, SYNTAX, "a line ends with CRLF, not with a bare LF")
            }
            Line::Partial if self.lines.skipped() > self.config.limits.max_discarded => {
                self.hang_up(output, "command line too long");
            }
            Line::Partial => return Some(Step::NeedInput),
        }
        None
    }

    fn obey(&mut self, command: Command, output: &mut Vec<u8>) -> Option<Step> {
        match command {
            Command::Ehlo(name) => self.hello(name, true, output),
            Command::Helo(name) => self.hello(name, false, output),
            Command::Mail(path, params) => return self.mail(path, params, output),
            Command::Rcpt(path, params) => return self.rcpt(path, params, output),
            Command::Data => self.data(output),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Rset => {
                self.give_up();
                self.aftermath = false;
                self.reply(output, 250, DONE, "reset");
            }
            Command::Noop => self.reply(output, 250, DONE, "ok"),
            Command::Vrfy => {
                self.reply(output, 252, EnhancedCode::new(2, 5, 0), "cannot verify, but will take messages");
            }
            Command::Help => self.reply(output, 214, DONE, "see RFC 5321"),
            Command::Quit => self.quit(output),
            Command::NotImplemented => self.protocol_error(output, 502, SEQUENCE, "command not implemented"),
        }
        None
    }

    fn quit(&mut self, output: &mut Vec<u8>) {
        self.reply(output, 221, DONE, &format!("{} closing connection", clean(&self.config.host_name)));
        self.give_up();
        self.state = State::Closed;
    }

    /// After a greeting that refused to serve.
    fn refuse_command(&mut self, command: Result<Command, CommandError>, output: &mut Vec<u8>) {
        match command {
            Ok(Command::Quit) => self.quit(output),
            // The bytes behind BDAT would be taken for commands.
            Ok(Command::Bdat { .. }) => self.hang_up(output, "no service"),
            _ => self.protocol_error(output, 503, SEQUENCE, "no service here"),
        }
    }

    fn hello(&mut self, name: String, extended: bool, output: &mut Vec<u8>) {
        self.give_up();
        self.aftermath = false;
        self.client = Some(Client { name, extended });
        let mut lines = vec![clean(&self.config.host_name)];
        if extended {
            let offered = &self.config.extensions;
            let mut offer = |is_offered: bool, line: &str| {
                if is_offered {
                    lines.push(line.to_owned());
                }
            };
            offer(offered.pipelining, "PIPELINING");
            offer(offered.size, &format!("SIZE {}", self.config.limits.max_message_size));
            offer(offered.eight_bit_mime, "8BITMIME");
            offer(offered.enhanced, "ENHANCEDSTATUSCODES");
            offer(offered.dsn, "DSN");
            offer(offered.chunking, "CHUNKING");
            offer(offered.chunking && offered.binary_mime, "BINARYMIME");
        }
        write_lines(output, 250, &lines);
    }

    fn mail(&mut self, path: ReversePath, params: MailParams, output: &mut Vec<u8>) -> Option<Step> {
        if self.client.is_none() {
            self.aftermath = true;
            self.protocol_error(output, 503, SEQUENCE, "say EHLO or HELO first");
        } else if self.transaction.is_some() {
            self.protocol_error(output, 503, SEQUENCE, "nested MAIL");
        } else if params.size.is_some_and(|size| size > self.config.limits.max_message_size) {
            self.aftermath = true;
            self.reply(output, 552, TOO_BIG, "message size exceeds the limit");
        } else {
            let request = MailRequest { reverse_path: path, params };
            self.question = Some(Question::Mail(request.clone()));
            return Some(Step::Mail(request));
        }
        None
    }

    fn rcpt(&mut self, path: ForwardPath, params: RcptParams, output: &mut Vec<u8>) -> Option<Step> {
        let Some(transaction) = &self.transaction else {
            self.misplaced(output, "need MAIL before RCPT");
            return None;
        };
        if transaction.chunks.is_some() {
            self.protocol_error(output, 503, SEQUENCE, "RCPT after BDAT");
        } else if transaction.recipients.len() >= self.config.limits.max_recipients {
            self.reply(output, 452, EnhancedCode::new(4, 5, 3), "too many recipients");
        } else {
            let request = RecipientRequest { forward_path: path, params };
            self.question = Some(Question::Recipient(request.clone()));
            return Some(Step::Recipient(request));
        }
        None
    }

    fn data(&mut self, output: &mut Vec<u8>) {
        match &self.transaction {
            None => self.misplaced(output, "need MAIL and RCPT before DATA"),
            Some(transaction) if transaction.chunks.is_some() => {
                self.protocol_error(output, 503, SEQUENCE, "DATA after BDAT");
            }
            Some(transaction) if transaction.recipients.is_empty() && transaction.refused => {
                self.reply(output, 554, SEQUENCE, "no valid recipients");
            }
            Some(transaction) if transaction.recipients.is_empty() => {
                self.protocol_error(output, 503, SEQUENCE, "need RCPT before DATA");
            }
            Some(transaction) if transaction.mail.params.body == Some(Body::Binary) => {
                self.protocol_error(output, 503, SEQUENCE, "BODY=BINARYMIME needs BDAT");
            }
            Some(_) => {
                // RFC 2034 section 3: no enhanced code in a 3xx reply.
                output.extend_from_slice(b"354 end with <CRLF>.<CRLF>\r\n");
                self.state = State::Receiving(Receiving::data(&self.config.limits));
            }
        }
    }

    /// The chunk must be read whatever becomes of it, so what is wrong with it is said behind it.
    fn bdat(&mut self, size: u64, last: bool) {
        let refusal = match &self.transaction {
            _ if !self.config.extensions.chunking => Some((502, "BDAT is not offered")),
            None => Some((503, "need MAIL and RCPT before BDAT")),
            Some(transaction) if !transaction.recipients.is_empty() => None,
            Some(transaction) if transaction.refused => Some((554, "no valid recipients")),
            Some(_) => Some((503, "need RCPT before BDAT")),
        };
        self.state = State::Receiving(Receiving::chunk(size, last, refusal));
    }

    /// A command without MAIL: an error, unless MAIL was refused and this was pipelined behind it.
    pub(super) fn misplaced(&mut self, output: &mut Vec<u8>, text: &str) {
        if self.aftermath {
            self.reply(output, 503, SEQUENCE, text);
        } else {
            self.protocol_error(output, 503, SEQUENCE, text);
        }
    }

    /// A line that is no command. Bad addresses are the users' errors, not the client's: they do not count
    /// towards the limit, lest a message with a few of them lose its other recipients.
    fn faulty(&mut self, error: CommandError, output: &mut Vec<u8>) {
        match error.outline() {
            Outline::Mail if self.transaction.is_none() => self.aftermath = true,
            Outline::Rcpt => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.refused = true;
                }
            }
            _ => {}
        }
        let text = error.to_string();
        match error {
            CommandError::Characters | CommandError::Unknown => {
                self.protocol_error(output, 500, SYNTAX, &text)
            }
            CommandError::Sender(PathError::NotAscii) | CommandError::Recipient(PathError::NotAscii) => {
                self.reply(output, 553, EnhancedCode::new(5, 6, 7), &text);
            }
            CommandError::Sender(_) => self.reply(output, 501, EnhancedCode::new(5, 1, 7), &text),
            CommandError::Recipient(_) => self.reply(output, 501, EnhancedCode::new(5, 1, 3), &text),
            CommandError::Param(_, ParamError::Unknown) => self.protocol_error(output, 555, ARGUMENT, &text),
            // Where the chunk ends is unknown: reading on would take content for commands.
            CommandError::Argument(Outline::Bdat) => {
                self.reply(output, 501, ARGUMENT, &text);
                self.give_up();
                self.state = State::Closed;
            }
            CommandError::Argument(_) | CommandError::Param(..) => {
                self.protocol_error(output, 501, ARGUMENT, &text);
            }
        }
    }
}
