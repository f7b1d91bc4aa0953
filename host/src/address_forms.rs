//! Address forms: addresses of other types carried in the local part of a mail address.
//!
//! Two forms are read: `IMCEAFAX-+2B4930123@gw.example` (Exchange's encapsulation, `IMCEA<TYPE>-<encoded>`)
//! and `FAX=+4930123/T33S=7@gw.example` (telephone numbers, RFC 3191 and RFC 3192). Both mean something only
//! to the host of the domain, so they are read for the given domains only. Pure.

use std::fmt::Write as _;

use postern_model::{AddressError, AddressType, TypedAddress, text};

/// What an IMCEA local part starts with, in any case.
const IMCEA: &str = "IMCEA";

/// Types that never come out of an encapsulation: a plain mail address in disguise would get around the
/// rules for plain mail addresses, and X500 names a directory that we do not have (Exchange refuses both).
const REFUSED_TYPES: [&str; 2] = ["SMTP", "X500"];

/// Service selectors (RFC 3191 2.1) that are also read with a number that has no `+`, as an extension has none.
/// For any other word the number must be global, so that `SRS0=...` and `prvs=...` are not taken for services.
const KNOWN_SERVICES: [&str; 4] = ["FAX", "VOICE", "SMS", "MMS"];

/// The most digits a number may have. E.164 allows 15; dialled strings with prefixes are longer.
const MAX_DIGITS: usize = 32;

/// The most `/keyword=value` elements that are read behind a number.
const MAX_ELEMENTS: usize = 16;

/// In which form an address was carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `IMCEA<TYPE>-<encoded>` (Exchange).
    Imcea,
    /// `SERVICE=number/keyword=value` (RFC 3191, RFC 3192).
    Gstn,
}

impl Form {
    /// The name of the form, for explanations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Imcea => "IMCEA",
            Self::Gstn => "RFC 3191",
        }
    }
}

/// An address that was carried in another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decapsulated {
    /// The address itself.
    pub address: TypedAddress,
    /// What else the local part said: the elements behind a number, names in lower case (`t33s`, `attn`).
    pub properties: Vec<(String, String)>,
    /// The form it was carried in.
    pub form: Form,
}

/// Why a local part that has one of the forms cannot be read, or an address not be carried.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FormError {
    /// `IMCEA` without a type and a `-` behind it.
    #[error("an IMCEA address is IMCEA, a type, '-' and the encoded address")]
    Imcea,
    /// A type that must not be encapsulated.
    #[error("an address of type {0} cannot be encapsulated")]
    Type(String),
    /// A `+` without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("the encoded address holds a '+' without two hexadecimal digits, or is not UTF-8")]
    Encoding,
    /// Not a telephone number.
    #[error("{0:?} is not a telephone number ('+', then digits, at most {MAX_DIGITS})")]
    Number(String),
    /// An element behind a number that is not `/keyword=value`, or too many of them.
    #[error("{0:?} is not an element of a telephone address (/keyword=value, at most {MAX_ELEMENTS})")]
    Element(String),
    /// What came out is no address.
    #[error(transparent)]
    Address(#[from] AddressError),
}

/// Takes the address out of a mail address that carries one.
///
/// `domains` are in lower case. The answer is `None` when the address is of another type, of another domain
/// or has neither form: then it is a mail address like any other.
///
/// # Errors
/// When it has one of the forms but cannot be read.
pub fn decapsulate(address: &TypedAddress, domains: &[String]) -> Result<Option<Decapsulated>, FormError> {
    let Some((local, domain)) = address.smtp_parts() else { return Ok(None) };
    if !domains.iter().any(|d| d == domain) {
        return Ok(None);
    }
    let local = unquote(local);
    if local.get(..IMCEA.len()).is_some_and(|start| start.eq_ignore_ascii_case(IMCEA)) {
        return imcea(&local[IMCEA.len()..]).map(Some);
    }
    gstn(&local)
}

/// Wraps an address of another type into a mail address at `domain`, in the IMCEA form.
///
/// Letters, digits, `=` and `-` stay, `/` becomes `_`, every other byte `+` and two hexadecimal digits.
/// Exchange defines this for US-ASCII; other characters are carried as the bytes of their UTF-8.
///
/// # Errors
/// For types that are never encapsulated (SMTP, X500), and when the result is no address, for it is too long.
pub fn encapsulate(address: &TypedAddress, domain: &str) -> Result<TypedAddress, FormError> {
    let kind = address.kind().as_str();
    check_type(kind)?;
    let mut out = format!("{IMCEA}{kind}-");
    for byte in address.address().bytes() {
        match byte {
            b'/' => out.push('_'),
            b'=' | b'-' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(out, "+{byte:02X}");
            }
        }
    }
    Ok(TypedAddress::smtp(&format!("{out}@{domain}"))?)
}

/// The local part without the quotes and backslashes of a quoted string (RFC 5321 4.1.2); others as they are.
#[must_use]
pub fn unquote(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return local.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        out.extend(if c == '\\' { characters.next() } else { Some(c) });
    }
    out
}

/// The local part as it is written in an address: as it is when that is allowed, else as a quoted string.
#[must_use]
pub fn quote(local: &str) -> String {
    let atext = |c: char| c.is_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    if local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atext)) {
        return local.to_owned();
    }
    let mut out = String::with_capacity(local.len() + 2);
    out.push('"');
    for c in local.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn check_type(kind: &str) -> Result<(), FormError> {
    if REFUSED_TYPES.contains(&kind) { Err(FormError::Type(kind.to_owned())) } else { Ok(()) }
}

/// Reads what stands behind `IMCEA`. A type may hold `-`, but none in use does: the first one ends it.
fn imcea(rest: &str) -> Result<Decapsulated, FormError> {
    let (kind, encoded) = rest.split_once('-').ok_or(FormError::Imcea)?;
    let kind = AddressType::new(kind).map_err(|_| FormError::Imcea)?;
    check_type(kind.as_str())?;
    let address = TypedAddress::new(kind, &imcea_decoded(encoded)?)?;
    Ok(Decapsulated { address, properties: Vec::new(), form: Form::Imcea })
}

fn imcea_decoded(encoded: &str) -> Result<String, FormError> {
    let mut out = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'_' => b'/',
            b'+' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit(), digit());
                let value = high.zip(low).map(|(high, low)| high * 16 + low);
                value.and_then(|v| u8::try_from(v).ok()).ok_or(FormError::Encoding)?
            }
            _ => byte,
        });
    }
    String::from_utf8(out).map_err(|_| FormError::Encoding)
}

/// Reads `[/]SERVICE=number[/keyword=value]...[/]` (RFC 3191 2 and 3, RFC 3192 2).
fn gstn(local: &str) -> Result<Option<Decapsulated>, FormError> {
    let bare = local.strip_prefix('/').unwrap_or(local);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let mut elements = bare.split('/');
    let Some((service, number)) = elements.next().and_then(|first| first.split_once('=')) else {
        return Ok(None);
    };
    let known = KNOWN_SERVICES.iter().any(|s| s.eq_ignore_ascii_case(service));
    let (Ok(kind), true) = (AddressType::new(service), known || number.starts_with('+')) else {
        return Ok(None);
    };
    check_type(kind.as_str())?;
    let address = TypedAddress::new(kind, &phone(number)?)?;
    let properties = elements.map(element).collect::<Result<Vec<_>, _>>()?;
    if properties.len() > MAX_ELEMENTS {
        return Err(FormError::Element(shown(bare)));
    }
    Ok(Some(Decapsulated { address, properties, form: Form::Gstn }))
}

/// A number without its separators. `-` and `.` are those of RFC 3191 2.1; people also write spaces, quoted.
fn phone(number: &str) -> Result<String, FormError> {
    let plain = without_separators(number);
    let digits = plain.strip_prefix('+').unwrap_or(&plain);
    let fits = (1..=MAX_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if fits { Ok(plain) } else { Err(FormError::Number(shown(number))) }
}

fn element(element: &str) -> Result<(String, String), FormError> {
    let wrong = || FormError::Element(shown(element));
    let (keyword, value) = element.split_once('=').ok_or_else(wrong)?;
    // A keyword has the letters of a type, and the same bound will do.
    AddressType::new(keyword).map_err(|_| wrong())?;
    if value.is_empty() {
        return Err(wrong());
    }
    let keyword = keyword.to_ascii_lowercase();
    // The sub-address of RFC 3192 2.1 is of digits; its separators go like those of the number.
    let value = if keyword == "t33s" { without_separators(value) } else { value.to_owned() };
    Ok((keyword, value))
}

fn without_separators(number: &str) -> String {
    number.chars().filter(|c| !matches!(c, '-' | '.' | ' ')).collect()
}

fn shown(foreign: &str) -> String {
    text::one_line(foreign, 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Result<Option<Decapsulated>, FormError> {
        let address = TypedAddress::smtp(address).unwrap();
        decapsulate(&address, &["gw.example".to_owned(), "fax.example".to_owned()])
    }

    fn shown_as(address: &str) -> String {
        let found = read(address).unwrap_or_else(|e| panic!("{address}: {e}"));
        let found = found.unwrap_or_else(|| panic!("{address}: no form"));
        let properties: String = found.properties.iter().map(|(k, v)| format!(" {k}={v}")).collect();
        format!("{} {}{properties}", found.form.name(), found.address)
    }

    #[test]
    fn every_known_form_is_read() {
        let table = [
            ("IMCEAFAX-+2B4930123@gw.example", "IMCEA FAX:+4930123"),
            ("imceafax-+2b4930123@GW.example", "IMCEA FAX:+4930123"),
            ("IMCEASMS-0049+2D30@fax.example", "IMCEA SMS:0049-30"),
            ("IMCEANOTES-Jo+20Doe_Sales_ACME+40X@gw.example", "IMCEA NOTES:Jo Doe/Sales/ACME@X"),
            ("IMCEAX400-c=us+3Ba=+20+3Bp=ACME+3Bs=Doe@gw.example", "IMCEA X400:c=us;a= ;p=ACME;s=Doe"),
            ("IMCEAFAX-K+C3+B6ln@gw.example", "IMCEA FAX:Köln"),
            ("FAX=+4930123@gw.example", "RFC 3191 FAX:+4930123"),
            ("fax=+49-30.123@gw.example", "RFC 3191 FAX:+4930123"),
            ("/FAX=+4930123/@gw.example", "RFC 3191 FAX:+4930123"),
            ("\"FAX=+49 30 1\"@gw.example", "RFC 3191 FAX:+49301"),
            ("FAX=+12145551212/T33S=1-2.3@gw.example", "RFC 3191 FAX:+12145551212 t33s=123"),
            ("\"/FAX=+1214/T33S=12/ATTN=Jo Doe/\"@gw.example", "RFC 3191 FAX:+1214 t33s=12 attn=Jo Doe"),
            ("VOICE=+390408565@gw.example", "RFC 3191 VOICE:+390408565"),
            ("SMS=+491701234567@gw.example", "RFC 3191 SMS:+491701234567"),
            ("FAX=0301234@gw.example", "RFC 3191 FAX:0301234"),
            ("PAGER=+4930@gw.example", "RFC 3191 PAGER:+4930"),
        ];
        for (address, expected) in table {
            assert_eq!(shown_as(address), expected, "{address}");
        }
    }

    #[test]
    fn ordinary_addresses_and_other_domains_are_left_alone() {
        let table = [
            "jo@gw.example",
            "imc@gw.example",
            "+4930123@gw.example",
            "SRS0=hhh=tt=other.example=jo@gw.example",
            "prvs=1234567890=jo@gw.example",
            "a=b@gw.example",
            "IMCEAFAX-+2B4930123@other.example",
            "IMCEAFAX-+2B4930123@sub.gw.example",
            "FAX=+4930123@other.example",
        ];
        for address in table {
            assert_eq!(read(address), Ok(None), "{address}");
        }
        let fax = TypedAddress::parse("FAX:FAX=+1@gw.example").unwrap();
        assert_eq!(decapsulate(&fax, &["gw.example".to_owned()]), Ok(None));
    }

    #[test]
    fn what_has_a_form_but_cannot_be_read_is_an_error() {
        let table = [
            ("IMCEAFAX@gw.example", FormError::Imcea),
            ("IMCEA-x@gw.example", FormError::Imcea),
            ("IMCEAFAX-+2@gw.example", FormError::Encoding),
            ("IMCEAFAX-+ZZ1@gw.example", FormError::Encoding),
            ("IMCEAFAX-+FF+FE@gw.example", FormError::Encoding),
            ("IMCEAFAX-@gw.example", FormError::Address(AddressError::Length(0))),
            ("IMCEAFAX-1+0D+0ARCPT@gw.example", FormError::Address(AddressError::Control)),
            ("IMCEASMTP-jo+40victim.example@gw.example", FormError::Type("SMTP".to_owned())),
            ("IMCEAX500-_o=ACME@gw.example", FormError::Type("X500".to_owned())),
            ("FAX=@gw.example", FormError::Number(String::new())),
            ("FAX=jo@gw.example", FormError::Number("jo".to_owned())),
            ("FAX=++49@gw.example", FormError::Number("++49".to_owned())),
            ("SMTP=+49@gw.example", FormError::Type("SMTP".to_owned())),
            ("FAX=+49/T33S@gw.example", FormError::Element("T33S".to_owned())),
            ("FAX=+49/T33S=@gw.example", FormError::Element("T33S=".to_owned())),
            ("FAX=+49//A=1@gw.example", FormError::Element(String::new())),
        ];
        for (address, expected) in table {
            assert_eq!(read(address), Err(expected), "{address}");
        }
        let long = format!("FAX=+{}@gw.example", "1".repeat(MAX_DIGITS + 1));
        assert!(matches!(read(&long), Err(FormError::Number(_))));
        let many = format!("FAX=+1{}@gw.example", "/A=1".repeat(MAX_ELEMENTS + 1));
        assert!(matches!(read(&many), Err(FormError::Element(_))));
    }

    #[test]
    fn an_address_survives_encapsulation() {
        let table = [
            ("FAX:+4930123", "IMCEAFAX-+2B4930123@gw.example"),
            ("NOTES:Jo Doe/Sales@X.y_z", "IMCEANOTES-Jo+20Doe_Sales+40X+2Ey+5Fz@gw.example"),
            ("X400:c=us;a= ;p=A-B", "IMCEAX400-c=us+3Ba=+20+3Bp=A-B@gw.example"),
            ("FAX:Köln", "IMCEAFAX-K+C3+B6ln@gw.example"),
        ];
        for (plain, wrapped) in table {
            let plain = TypedAddress::parse(plain).unwrap();
            let address = encapsulate(&plain, "gw.example").unwrap();
            assert_eq!(address.address(), wrapped);
            assert_eq!(read(wrapped).unwrap().unwrap().address, plain);
        }
    }

    #[test]
    fn random_addresses_survive_encapsulation() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..2000 {
            let length = rng.usize(1..40);
            let text: String = (0..length).map(|_| rng.char(' '..)).filter(|c| !c.is_control()).collect();
            let Ok(plain) = TypedAddress::new(AddressType::new("FAX").unwrap(), &text) else { continue };
            let address = encapsulate(&plain, "gw.example").unwrap();
            assert!(address.address().is_ascii());
            assert_eq!(read(address.address()).unwrap().unwrap().address, plain, "seed {seed}");
        }
    }

    #[test]
    fn what_must_not_be_carried_is_refused() {
        let mail = TypedAddress::parse("jo@a.example").unwrap();
        assert_eq!(encapsulate(&mail, "gw.example"), Err(FormError::Type("SMTP".to_owned())));
        let long = TypedAddress::new(AddressType::new("FAX").unwrap(), &"+".repeat(1000)).unwrap();
        assert!(matches!(encapsulate(&long, "gw.example"), Err(FormError::Address(AddressError::Length(_)))));
    }

    #[test]
    fn quoting_is_undone_and_done_where_it_must_be() {
        for (plain, written) in
            [("jo.doe", "jo.doe"), ("a b", "\"a b\""), ("a\"\\b", "\"a\\\"\\\\b\""), ("a..b", "\"a..b\"")]
        {
            assert_eq!(quote(plain), written);
            assert_eq!(unquote(written), plain);
        }
        assert_eq!(unquote("\""), "\"");
    }
}
