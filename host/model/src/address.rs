//! Addresses of any kind: a type (SMTP, FAX, SMS, X400, ...) and the text within it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The type of an address in upper case: `SMTP`, `FAX`, `SMS`, `X400` or any other word of letters,
/// digits and `-` (Exchange: the `type` of an address space).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressType(String);

impl AddressType {
    /// The longest type that is accepted, in bytes.
    pub const MAX_LENGTH: usize = 32;

    /// Checks and upper-cases `text`.
    ///
    /// # Errors
    /// When it is empty, longer than [`Self::MAX_LENGTH`], or holds anything but letters, digits and `-`.
    pub fn new(text: &str) -> Result<Self, AddressError> {
        let fits = !text.is_empty()
            && text.len() <= Self::MAX_LENGTH
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(text.to_ascii_uppercase())) } else { Err(AddressError::Type(text.to_owned())) }
    }

    /// The type of ordinary mail addresses.
    #[must_use]
    pub fn smtp() -> Self {
        Self("SMTP".to_owned())
    }

    /// Whether this is the type of ordinary mail addresses.
    #[must_use]
    pub fn is_smtp(&self) -> bool {
        self.0 == "SMTP"
    }

    /// The type in upper case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AddressType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address together with its type, written `TYPE:address`.
///
/// An SMTP address is kept as it was written but for its domain, which is in lower case.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypedAddress {
    kind: AddressType,
    address: String,
}

impl TypedAddress {
    /// The longest address that is accepted, in bytes (RFC 5321 4.5.3.1: 64 + 1 + 255, with room for X.400).
    pub const MAX_LENGTH: usize = 1024;

    /// Joins a type and an address.
    ///
    /// # Errors
    /// When the address is empty, too long or holds control characters, or an SMTP address has no domain.
    pub fn new(kind: AddressType, address: &str) -> Result<Self, AddressError> {
        if address.is_empty() || address.len() > Self::MAX_LENGTH {
            return Err(AddressError::Length(address.len()));
        }
        if address.chars().any(char::is_control) {
            return Err(AddressError::Control);
        }
        let address = if kind.is_smtp() {
            let (local, domain) =
                address.rsplit_once('@').ok_or_else(|| AddressError::NoDomain(address.to_owned()))?;
            if local.is_empty() || domain.is_empty() {
                return Err(AddressError::NoDomain(address.to_owned()));
            }
            format!("{local}@{}", domain.to_ascii_lowercase())
        } else {
            address.to_owned()
        };
        Ok(Self { kind, address })
    }

    /// An ordinary mail address.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn smtp(address: &str) -> Result<Self, AddressError> {
        Self::new(AddressType::smtp(), address)
    }

    /// Reads what a person types: `FAX:+4930123`, `SMTP:a@b.example` or just `a@b.example`.
    ///
    /// # Errors
    /// As [`Self::new`]. A text without a type is taken as SMTP.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if let Some((kind, address)) = text.split_once(':')
            && let Ok(kind) = AddressType::new(kind)
        {
            return Self::new(kind, address);
        }
        Self::smtp(text)
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> &AddressType {
        &self.kind
    }

    /// The address without its type.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The local part and the domain of an SMTP address; `None` for any other type.
    #[must_use]
    pub fn smtp_parts(&self) -> Option<(&str, &str)> {
        if self.kind.is_smtp() { self.address.rsplit_once('@') } else { None }
    }

    /// What people are shown: the bare address for SMTP, `TYPE:address` for the rest.
    #[must_use]
    pub fn display(&self) -> String {
        if self.kind.is_smtp() { self.address.clone() } else { self.to_string() }
    }
}

impl fmt::Display for TypedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.address)
    }
}

impl fmt::Debug for TypedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TypedAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for TypedAddress {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TypedAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Why a text is not an address.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// The part before the colon is no address type.
    #[error("{0:?} is not an address type (letters, digits and '-', at most 32)")]
    Type(String),
    /// Empty, or above [`TypedAddress::MAX_LENGTH`].
    #[error("an address of {0} bytes is not accepted (1 to 1024)")]
    Length(usize),
    /// An SMTP address needs both a local part and a domain.
    #[error("{0:?} has no domain: an SMTP address is local-part@domain")]
    NoDomain(String),
    /// Control characters are never part of an address.
    #[error("an address must not hold control characters")]
    Control,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_a_type_is_smtp_and_its_domain_is_lower_case() {
        let a = TypedAddress::parse("Jo@FAX.Example").unwrap();
        assert_eq!(a.to_string(), "SMTP:Jo@fax.example");
        assert_eq!(a.smtp_parts(), Some(("Jo", "fax.example")));
    }

    #[test]
    fn any_type_is_understood_and_upper_cased() {
        let a = TypedAddress::parse("fax:+49 30").unwrap();
        assert_eq!((a.kind().as_str(), a.address()), ("FAX", "+49 30"));
    }

    #[test]
    fn a_quoted_local_part_keeps_its_at_sign() {
        let a = TypedAddress::parse("SMTP:\"a@b\"@c.example").unwrap();
        assert_eq!(a.smtp_parts(), Some(("\"a@b\"", "c.example")));
    }

    #[test]
    fn control_characters_and_missing_domains_are_refused() {
        assert_eq!(TypedAddress::parse("FAX:1\r\n2"), Err(AddressError::Control));
        assert!(matches!(TypedAddress::parse("nobody"), Err(AddressError::NoDomain(_))));
        assert!(matches!(TypedAddress::parse("FAX:"), Err(AddressError::Length(0))));
    }
}
