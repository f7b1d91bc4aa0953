//! Command: one line from a client, parsed (RFC 5321 4.1.1).

use crate::params::{MailParams, ParamError, RcptParams};
use crate::path::{PathError, split_brackets};
use crate::{Extensions, ForwardPath, ReversePath, bdat};

/// Characters of the name in HELO and EHLO; RFC 5321 4.5.3.1.2 allows a domain 255.
pub const MAX_HELO_LENGTH: usize = 255;

/// A command that is understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `EHLO name`.
    Ehlo(String),
    /// `HELO name`.
    Helo(String),
    /// `MAIL FROM:<path> parameters`.
    Mail(ReversePath, MailParams),
    /// `RCPT TO:<path> parameters`.
    Rcpt(ForwardPath, RcptParams),
    /// `DATA`.
    Data,
    /// `BDAT size [LAST]` (RFC 3030).
    Bdat {
        /// Bytes that follow the command line.
        size: u64,
        /// Whether they end the message.
        last: bool,
    },
    /// `RSET`.
    Rset,
    /// `NOOP`, whatever follows.
    Noop,
    /// `VRFY` of something.
    Vrfy,
    /// `HELP`, whatever follows.
    Help,
    /// `QUIT`.
    Quit,
    /// A command that exists but is not offered: EXPN, STARTTLS, AUTH, ETRN, TURN, SEND, SOML, SAML.
    NotImplemented,
}

/// What kind of command a faulty line was meant to be; a MAIL that fails has other consequences than a NOOP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outline {
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// BDAT: how many bytes follow cannot be known.
    Bdat,
    /// Anything else.
    Other,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// 500 5.5.2: control characters, or characters above ASCII outside of addresses.
    #[error("command with characters that are not allowed")]
    Characters,
    /// 500 5.5.2: no such verb.
    #[error("command not recognized")]
    Unknown,
    /// 501 5.5.4: the verb without, or with a wrong argument.
    #[error("syntax error in arguments")]
    Argument(Outline),
    /// 501 5.1.7, or 553 5.6.7 for characters above ASCII.
    #[error("bad sender address syntax: {0}")]
    Sender(PathError),
    /// 501 5.1.3, or 553 5.6.7 for characters above ASCII.
    #[error("bad recipient address syntax: {0}")]
    Recipient(PathError),
    /// 555 5.5.4 or 501 5.5.4.
    #[error("{1}")]
    Param(Outline, ParamError),
}

impl CommandError {
    /// The command it was meant to be.
    #[must_use]
    pub fn outline(&self) -> Outline {
        match self {
            Self::Argument(outline) | Self::Param(outline, _) => *outline,
            Self::Sender(_) => Outline::Mail,
            Self::Recipient(_) => Outline::Rcpt,
            Self::Characters | Self::Unknown => Outline::Other,
        }
    }
}

impl Command {
    /// Reads a line without its CRLF. Verbs and keywords are understood in any case; spaces at the end and
    /// after the colon of MAIL and RCPT are forgiven.
    ///
    /// # Errors
    /// When it is no command, or a malformed one, or has a parameter that is not offered.
    pub fn parse(line: &[u8], offered: &Extensions) -> Result<Self, CommandError> {
        if line.iter().any(u8::is_ascii_control) {
            return Err(CommandError::Characters);
        }
        let line = line.trim_ascii_end();
        let verb_length = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
        let (verb, argument) = line.split_at(verb_length);
        let mut upper = [0; 8];
        let Some(upper) = upper.get_mut(..verb.len()) else { return Err(CommandError::Unknown) };
        upper.copy_from_slice(verb);
        upper.make_ascii_uppercase();
        match &*upper {
            b"MAIL" => return mail(argument, offered),
            b"RCPT" => return rcpt(argument, offered),
            _ => {}
        }
        let argument = std::str::from_utf8(argument).ok().filter(|argument| argument.is_ascii());
        let argument = argument.ok_or(CommandError::Characters)?.trim_start_matches(' ');
        simple(upper, argument)
    }
}

/// The commands whose arguments hold no address.
fn simple(verb: &[u8], argument: &str) -> Result<Command, CommandError> {
    let wrong = CommandError::Argument(Outline::Other);
    let bare = |command| if argument.is_empty() { Ok(command) } else { Err(wrong) };
    match verb {
        b"EHLO" => helo_name(argument).map(Command::Ehlo).ok_or(wrong),
        b"HELO" => helo_name(argument).map(Command::Helo).ok_or(wrong),
        b"DATA" => bare(Command::Data),
        b"BDAT" => {
            let (size, last) = bdat::parse(argument).ok_or(CommandError::Argument(Outline::Bdat))?;
            Ok(Command::Bdat { size, last })
        }
        b"RSET" => bare(Command::Rset),
        b"QUIT" => bare(Command::Quit),
        b"NOOP" => Ok(Command::Noop),
        b"HELP" => Ok(Command::Help),
        b"VRFY" if argument.is_empty() => Err(wrong),
        b"VRFY" => Ok(Command::Vrfy),
        b"EXPN" | b"STARTTLS" | b"AUTH" | b"ETRN" | b"TURN" | b"SEND" | b"SOML" | b"SAML" => {
            Ok(Command::NotImplemented)
        }
        _ => Err(CommandError::Unknown),
    }
}

/// One word. Its form is not checked further: too many honest clients do not know their own name.
fn helo_name(argument: &str) -> Option<String> {
    let fits = !argument.is_empty() && argument.len() <= MAX_HELO_LENGTH && !argument.contains(' ');
    fits.then(|| argument.to_owned())
}

fn mail(argument: &[u8], offered: &Extensions) -> Result<Command, CommandError> {
    let argument = ascii(argument).ok_or(CommandError::Sender(PathError::NotAscii))?;
    let rest = after_keyword(argument, "FROM:").ok_or(CommandError::Argument(Outline::Mail))?;
    let (path, params) = split_brackets(rest).map_err(CommandError::Sender)?;
    let path = path.parse().map_err(CommandError::Sender)?;
    let params = MailParams::parse(params, offered).map_err(|e| CommandError::Param(Outline::Mail, e))?;
    Ok(Command::Mail(path, params))
}

fn rcpt(argument: &[u8], offered: &Extensions) -> Result<Command, CommandError> {
    let argument = ascii(argument).ok_or(CommandError::Recipient(PathError::NotAscii))?;
    let rest = after_keyword(argument, "TO:").ok_or(CommandError::Argument(Outline::Rcpt))?;
    let (path, params) = split_brackets(rest).map_err(CommandError::Recipient)?;
    let path = path.parse().map_err(CommandError::Recipient)?;
    let params = RcptParams::parse(params, offered).map_err(|e| CommandError::Param(Outline::Rcpt, e))?;
    Ok(Command::Rcpt(path, params))
}

fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())
}

/// What follows `keyword`, with the spaces around it forgiven.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let argument = argument.trim_start_matches(' ');
    let (word, rest) = argument.split_at_checked(keyword.len())?;
    word.eq_ignore_ascii_case(keyword).then(|| rest.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, CommandError> {
        Command::parse(line.as_bytes(), &Extensions::default())
    }

    #[test]
    fn verbs_are_understood_in_any_case() {
        for (line, command) in [
            ("ehlo Client.Example", Command::Ehlo("Client.Example".to_owned())),
            ("HeLo [192.0.2.1]  ", Command::Helo("[192.0.2.1]".to_owned())),
            ("data", Command::Data),
            ("bdat 10 last", Command::Bdat { size: 10, last: true }),
            ("NOOP anything at all", Command::Noop),
            ("vrfy someone", Command::Vrfy),
            ("Quit ", Command::Quit),
            ("starttls", Command::NotImplemented),
        ] {
            assert_eq!(parse(line), Ok(command), "{line}");
        }
        let mail = parse("mail from: <a@b.example> size=10").unwrap();
        assert_eq!(mail, parse("MAIL FROM:<a@b.example> SIZE=10").unwrap());
    }

    #[test]
    fn faults_are_told_apart() {
        let other = CommandError::Argument(Outline::Other);
        for (line, error) in [
            ("", CommandError::Unknown),
            (" NOOP", CommandError::Unknown),
            ("HELLO x", CommandError::Unknown),
            ("ABCDEFGHIJ", CommandError::Unknown),
            ("NO\0OP", CommandError::Characters),
            ("NOOP\tx", CommandError::Characters),
            ("NOOP \u{7f}", CommandError::Characters),
            ("NOOP ü", CommandError::Characters),
            ("EHLO", other),
            ("EHLO a b", other),
            ("DATA x", other),
            ("RSET x", other),
            ("QUIT x", other),
            ("VRFY", other),
            ("BDAT", CommandError::Argument(Outline::Bdat)),
            ("BDAT x LAST", CommandError::Argument(Outline::Bdat)),
            ("MAIL", CommandError::Argument(Outline::Mail)),
            ("MAIL TO:<a@b>", CommandError::Argument(Outline::Mail)),
            ("RCPT FROM:<a@b>", CommandError::Argument(Outline::Rcpt)),
            ("MAIL FROM:a@b", CommandError::Sender(PathError::Brackets)),
            ("MAIL FROM:<ü@b>", CommandError::Sender(PathError::NotAscii)),
            ("MAIL FROM:<a>", CommandError::Sender(PathError::NoDomain)),
            ("RCPT TO:<>", CommandError::Recipient(PathError::Empty)),
            ("RCPT TO:<a@b.ü>", CommandError::Recipient(PathError::NotAscii)),
            ("MAIL FROM:<a@b>SIZE=1", CommandError::Param(Outline::Mail, ParamError::Malformed)),
            ("MAIL FROM:<a@b> X=1", CommandError::Param(Outline::Mail, ParamError::Unknown)),
            ("RCPT TO:<a@b> SIZE=1", CommandError::Param(Outline::Rcpt, ParamError::Unknown)),
        ] {
            assert_eq!(parse(line), Err(error), "{line:?}");
        }
    }
}
