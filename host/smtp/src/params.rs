//! The parameters of MAIL and RCPT: SIZE, BODY, RET, ENVID, AUTH, NOTIFY and ORCPT.

use crate::path::is_atom;
use crate::{Extensions, xtext};

/// Characters of an ENVID as it is sent (RFC 3461 4.4).
pub const MAX_ENVID_LENGTH: usize = 100;
/// Characters of an ORCPT as it is sent (RFC 3461 4.2).
pub const MAX_ORCPT_LENGTH: usize = 500;

/// What the content may hold (RFC 6152, RFC 3030).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// `7BIT`: lines of ASCII.
    SevenBit,
    /// `8BITMIME`: lines of any octets but NUL.
    EightBit,
    /// `BINARYMIME`: any octets; only by BDAT.
    Binary,
}

/// What part of the message a DSN should return (RFC 3461 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// `FULL`.
    Full,
    /// `HDRS`.
    Headers,
}

/// When the sender wants to hear about a recipient (RFC 3461 4.1). Nothing set is `NEVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notify {
    /// When it was delivered.
    pub success: bool,
    /// When it failed.
    pub failure: bool,
    /// When it is late.
    pub delay: bool,
}

impl Notify {
    /// `NOTIFY=NEVER`.
    pub const NEVER: Self = Self { success: false, failure: false, delay: false };
}

/// The recipient as the sender knew it (RFC 3461 4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginalRecipient {
    /// `rfc822`, `fax`, `x400`, ... as written.
    pub kind: String,
    /// The address, decoded from xtext.
    pub address: String,
}

/// The parameters of MAIL. AUTH is accepted and forgotten: nothing here trusts it (RFC 4954 section 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParams {
    /// The declared size in bytes; what does not fit into 64 bits is `u64::MAX`.
    pub size: Option<u64>,
    /// BODY.
    pub body: Option<Body>,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, decoded.
    pub envelope_id: Option<String>,
}

/// The parameters of RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptParams {
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT.
    pub original: Option<OriginalRecipient>,
}

/// Why parameters are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// Not offered: 555 5.5.4 (RFC 5321 4.1.1.11).
    #[error("parameter not recognized")]
    Unknown,
    /// The same parameter twice: 501 5.5.4.
    #[error("repeated parameter")]
    Repeated,
    /// Not of the form `KEYWORD` or `KEYWORD=value`: 501 5.5.4.
    #[error("malformed parameter")]
    Malformed,
    /// A value that the parameter does not have: 501 5.5.4.
    #[error("invalid parameter value")]
    Value,
}

impl MailParams {
    /// Reads what stands behind the path of MAIL.
    ///
    /// # Errors
    /// When a parameter is not offered, malformed or repeated.
    pub fn parse(text: &str, offered: &Extensions) -> Result<Self, ParamError> {
        let mut params = Self::default();
        let mut auth = None;
        for pair in pairs(text) {
            let (keyword, value) = pair?;
            match keyword.to_ascii_uppercase().as_str() {
                "SIZE" if offered.size => set(&mut params.size, size(value)?)?,
                "BODY" if offered.eight_bit_mime || offered.binary_mime => {
                    set(&mut params.body, body(value, offered)?)?;
                }
                "RET" if offered.dsn => set(&mut params.ret, ret(value)?)?,
                "ENVID" if offered.dsn => set(&mut params.envelope_id, envelope_id(value)?)?,
                "AUTH" => set(&mut auth, value.ok_or(ParamError::Value)?)?,
                _ => return Err(ParamError::Unknown),
            }
        }
        Ok(params)
    }
}

impl RcptParams {
    /// Reads what stands behind the path of RCPT.
    ///
    /// # Errors
    /// When a parameter is not offered, malformed or repeated.
    pub fn parse(text: &str, offered: &Extensions) -> Result<Self, ParamError> {
        let mut params = Self::default();
        for pair in pairs(text) {
            let (keyword, value) = pair?;
            match keyword.to_ascii_uppercase().as_str() {
                "NOTIFY" if offered.dsn => set(&mut params.notify, notify(value)?)?,
                "ORCPT" if offered.dsn => set(&mut params.original, original(value)?)?,
                _ => return Err(ParamError::Unknown),
            }
        }
        Ok(params)
    }
}

type Pair<'a> = (&'a str, Option<&'a str>);

/// The parameters in `text`, which is empty or starts with a space (RFC 5321 4.1.2, Mail-parameters).
fn pairs(text: &str) -> impl Iterator<Item = Result<Pair<'_>, ParamError>> {
    let glued = !text.is_empty() && !text.starts_with(' ');
    let refused = glued.then_some(Err(ParamError::Malformed));
    refused.into_iter().chain(text.split(' ').filter(|word| !word.is_empty()).map(|word| {
        let (keyword, value) = match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        };
        let keyword_fits = keyword.starts_with(|c: char| c.is_ascii_alphanumeric())
            && keyword.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let value_fits = value.is_none_or(|value| {
            !value.is_empty() && value.bytes().all(|b| b.is_ascii_graphic() && b != b'=')
        });
        if keyword_fits && value_fits { Ok((keyword, value)) } else { Err(ParamError::Malformed) }
    }))
}

fn set<T>(place: &mut Option<T>, value: T) -> Result<(), ParamError> {
    if place.is_some() {
        return Err(ParamError::Repeated);
    }
    *place = Some(value);
    Ok(())
}

/// RFC 1870 section 3: up to 20 digits.
fn size(value: Option<&str>) -> Result<u64, ParamError> {
    let digits = value.ok_or(ParamError::Value)?;
    if digits.len() > 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParamError::Value);
    }
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&str>, offered: &Extensions) -> Result<Body, ParamError> {
    match value.unwrap_or_default().to_ascii_uppercase().as_str() {
        "7BIT" => Ok(Body::SevenBit),
        "8BITMIME" if offered.eight_bit_mime => Ok(Body::EightBit),
        "BINARYMIME" if offered.binary_mime && offered.chunking => Ok(Body::Binary),
        _ => Err(ParamError::Value),
    }
}

fn ret(value: Option<&str>) -> Result<Ret, ParamError> {
    match value.unwrap_or_default().to_ascii_uppercase().as_str() {
        "FULL" => Ok(Ret::Full),
        "HDRS" => Ok(Ret::Headers),
        _ => Err(ParamError::Value),
    }
}

fn envelope_id(value: Option<&str>) -> Result<String, ParamError> {
    let value = value.filter(|value| value.len() <= MAX_ENVID_LENGTH).ok_or(ParamError::Value)?;
    xtext::decode(value).map_err(|_| ParamError::Value)
}

fn notify(value: Option<&str>) -> Result<Notify, ParamError> {
    let value = value.ok_or(ParamError::Value)?;
    let mut notify = Notify::NEVER;
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    // NEVER must stand alone, so it is no element of the list.
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return Err(ParamError::Value),
        }
    }
    Ok(notify)
}

/// Any address type: that of a fax or X.400 address matters here as much as `rfc822`.
fn original(value: Option<&str>) -> Result<OriginalRecipient, ParamError> {
    let value = value.filter(|value| value.len() <= MAX_ORCPT_LENGTH).ok_or(ParamError::Value)?;
    let (kind, address) = value.split_once(';').ok_or(ParamError::Value)?;
    let address = xtext::decode(address).map_err(|_| ParamError::Value)?;
    if !is_atom(kind) || address.is_empty() {
        return Err(ParamError::Value);
    }
    Ok(OriginalRecipient { kind: kind.to_owned(), address })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(text: &str) -> Result<MailParams, ParamError> {
        MailParams::parse(text, &Extensions::default())
    }

    fn rcpt(text: &str) -> Result<RcptParams, ParamError> {
        RcptParams::parse(text, &Extensions::default())
    }

    #[test]
    fn all_parameters_of_mail_are_understood_in_any_case() {
        let params = mail(" size=1000 BODY=binarymime Ret=HDRS ENVID=a+2Bb AUTH=<>").unwrap();
        let expected = MailParams {
            size: Some(1000),
            body: Some(Body::Binary),
            ret: Some(Ret::Headers),
            envelope_id: Some("a+b".to_owned()),
        };
        assert_eq!(params, expected);
        assert_eq!(mail(""), Ok(MailParams::default()));
    }

    #[test]
    fn repeated_unknown_and_malformed_parameters_are_told_apart() {
        for (text, error) in [
            (" SIZE=1 SIZE=1", ParamError::Repeated),
            (" AUTH=a AUTH=b", ParamError::Repeated),
            (" RET=FULL RET=HDRS", ParamError::Repeated),
            (" SMTPUTF8", ParamError::Unknown),
            (" FOO=1", ParamError::Unknown),
            (" NOTIFY=NEVER", ParamError::Unknown),
            ("SIZE=1", ParamError::Malformed),
            (" =1", ParamError::Malformed),
            (" SIZE=", ParamError::Malformed),
            (" ENVID=a=b", ParamError::Malformed),
            (" SIZE", ParamError::Value),
            (" SIZE=-1", ParamError::Value),
            (" SIZE=+1", ParamError::Value),
            (" SIZE=111111111111111111111", ParamError::Value),
            (" BODY=9BIT", ParamError::Value),
            (" RET=SOME", ParamError::Value),
            (" ENVID=a+2b", ParamError::Value),
            (" AUTH", ParamError::Value),
        ] {
            assert_eq!(mail(text), Err(error), "{text}");
        }
        assert_eq!(mail(" SIZE=99999999999999999999").unwrap().size, Some(u64::MAX));
        assert_eq!(mail(&format!(" ENVID={}", "x".repeat(101))), Err(ParamError::Value));
    }

    #[test]
    fn notify_never_stands_alone() {
        assert_eq!(rcpt(" NOTIFY=never").unwrap().notify, Some(Notify::NEVER));
        let all = Notify { success: true, failure: true, delay: true };
        assert_eq!(rcpt(" NOTIFY=SUCCESS,failure,Delay").unwrap().notify, Some(all));
        for text in [
            " NOTIFY=NEVER,SUCCESS",
            " NOTIFY=SUCCESS,NEVER",
            " NOTIFY=SUCCESS,",
            " NOTIFY=,",
            " NOTIFY=X",
            " NOTIFY",
        ] {
            assert_eq!(rcpt(text), Err(ParamError::Value), "{text}");
        }
    }

    #[test]
    fn an_original_recipient_may_be_of_any_type() {
        for (text, kind, address) in [
            (" ORCPT=rfc822;Bob@x.example", "rfc822", "Bob@x.example"),
            (" ORCPT=FAX;+2B4930123", "FAX", "+4930123"),
            (" ORCPT=x400;/C+3Dde/S+3Da+20b", "x400", "/C=de/S=a b"),
        ] {
            let original = rcpt(text).unwrap().original.unwrap();
            assert_eq!((original.kind.as_str(), original.address.as_str()), (kind, address));
        }
        for text in [
            " ORCPT=rfc822",
            " ORCPT=;a",
            " ORCPT=a;",
            " ORCPT=a b;c",
            " ORCPT=fax;+G930",
            " ORCPT=a(b;c",
            " ORCPT=fax;a+0Ab",
        ] {
            assert!(rcpt(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_offered_is_unknown() {
        let nothing = Extensions {
            pipelining: false,
            size: false,
            eight_bit_mime: false,
            enhanced: false,
            dsn: false,
            chunking: false,
            binary_mime: false,
        };
        for text in [" SIZE=1", " BODY=7BIT", " RET=FULL", " ENVID=a"] {
            assert_eq!(MailParams::parse(text, &nothing), Err(ParamError::Unknown), "{text}");
        }
        let no_binary = Extensions { chunking: false, ..Extensions::default() };
        assert_eq!(MailParams::parse(" BODY=BINARYMIME", &no_binary), Err(ParamError::Value));
        assert_eq!(RcptParams::parse(" NOTIFY=NEVER", &nothing), Err(ParamError::Unknown));
    }
}
