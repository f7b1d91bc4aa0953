//! Settings: the connector's `settings` table, and what is checked before the first message.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use crate::url;

/// The connector's `settings` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where messages are posted to: `http://` or `https://`.
    pub url: String,
    /// Further headers of every request; `{secret:NAME}` in a value is replaced by the host.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The name of a granted secret that is sent as `Authorization: Bearer ...`.
    #[serde(default)]
    pub secret: Option<String>,
    /// How long an answer may take, in seconds, 1 to 600. The deadline of the call may be shorter and then holds.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u32,
    /// Whether the message itself is sent.
    #[serde(default)]
    pub content: ContentMode,
    /// The largest message that is sent, at most 31 MiB; it lies in the agent's memory as a whole.
    #[serde(default)]
    pub max_size: Size,
    /// Puts the decoded header fields into the envelope.
    #[serde(default)]
    pub include_headers: bool,
    /// Puts the text of the message into the envelope, cut at so many bytes; 0: not.
    #[serde(default)]
    pub include_text: Size0,
    /// Where to ask about a receipt, with `{receipt}` in the place of its id.
    #[serde(default)]
    pub receipt_url: Option<String>,
}

fn default_timeout() -> u32 {
    30
}

/// Whether the message itself is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContentMode {
    /// Byte for byte as it was received.
    #[default]
    Raw,
    /// Only the envelope is sent.
    None,
}

/// A number of bytes: `25165824`, `"24MiB"`, `"64KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u32);

/// A [`Size`] whose default is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size0(u32);

impl Size {
    /// What holds when nothing is said.
    pub const DEFAULT: Self = Self(24 << 20);
    /// The largest that is accepted: by default the host carries requests of 32 MiB, and the envelope must fit too.
    pub const MAX: Self = Self(31 << 20);

    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.0
    }

    fn parse(text: &str) -> Option<u32> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number: u32 = text[..digits].parse().ok()?;
        let unit: u32 = match text[digits..].trim_start() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            _ => return None,
        };
        number.checked_mul(unit)
    }
}

impl Default for Size {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Size0 {
    /// In bytes.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.0
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u32),
        Text(String),
    }
    let told = || de::Error::custom("a size is a number of bytes or a text like \"24MiB\"");
    match Written::deserialize(deserializer).map_err(|_| told())? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => Size::parse(&text).ok_or_else(told),
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        size(deserializer).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size0 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        size(deserializer).map(Self)
    }
}

/// Headers that the agent or the host sets.
const OWN_HEADERS: [&str; 6] =
    ["content-type", "content-length", "host", "transfer-encoding", "connection", "idempotency-key"];

impl Settings {
    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// With a text that names the setting.
    pub fn check(&self) -> Result<(), String> {
        if url::origin(&self.url).is_none() {
            return Err(format!("settings.url: {:?} is not an http:// or https:// address", self.url));
        }
        if !(1..=600).contains(&self.timeout_seconds) {
            return Err(format!("settings.timeout_seconds: {} is not within 1 to 600", self.timeout_seconds));
        }
        if self.max_size.0 == 0 || self.max_size.0 > Size::MAX.0 {
            let (is, max) = (self.max_size.0, Size::MAX.0);
            return Err(format!("settings.max_size: {is} bytes are not within 1 to {max}"));
        }
        if let Some(template) = &self.receipt_url
            && (url::origin(template).is_none() || !template.contains("{receipt}"))
        {
            return Err(format!(
                "settings.receipt_url: {template:?} is not an http:// or https:// address with {{receipt}} in it"
            ));
        }
        self.headers.iter().try_for_each(|(name, value)| check_header(name, value))?;
        if self.secret.is_some() && self.headers.keys().any(|n| n.eq_ignore_ascii_case("authorization")) {
            return Err("settings.secret and settings.headers both set Authorization: choose one".to_owned());
        }
        match &self.secret {
            Some(name) if name.is_empty() || name.contains(|c: char| c == '}' || c.is_control()) => {
                Err(format!("settings.secret: {name:?} is not the name of a secret"))
            }
            _ => Ok(()),
        }
    }

    /// The headers that the operator wants in every request.
    pub fn request_headers(&self) -> impl Iterator<Item = (String, String)> {
        let bearer = |name: &String| ("Authorization".to_owned(), format!("Bearer {{secret:{name}}}"));
        let own = self.headers.iter().map(|(name, value)| (name.clone(), value.clone()));
        own.chain(self.secret.iter().map(bearer))
    }

    /// The names of the secrets that the headers ask for.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (_, value) in self.request_headers() {
            for piece in value.split("{secret:").skip(1) {
                names.extend(piece.split_once('}').map(|(name, _)| name.to_owned()));
            }
        }
        names
    }
}

/// RFC 9110 5.1 and 5.5: a name is a token, a value has no control characters.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("settings.headers: {name:?} is not the name of a header"));
    }
    if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
        return Err(format!("settings.headers.{name}: this header is not yours to set"));
    }
    if value.chars().any(char::is_control) {
        return Err(format!("settings.headers.{name}: the value holds control characters"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<Settings, String> {
        let settings: Settings = serde_json::from_str(json).map_err(|e| e.to_string())?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn an_address_alone_is_enough() {
        let settings = check(r#"{"url": "https://hook.example/in"}"#).unwrap();
        assert_eq!((settings.timeout_seconds, settings.max_size.bytes()), (30, 25_165_824));
        assert_eq!((settings.content, settings.include_text.bytes()), (ContentMode::Raw, 0));
    }

    #[test]
    fn what_cannot_work_is_told_before_the_first_message() {
        for (json, told) in [
            (r#"{"url": "ftp://x/"}"#, "settings.url"),
            (r#"{"url": "https:///in"}"#, "settings.url"),
            (r#"{"url": "https://x/a b"}"#, "settings.url"),
            (r#"{"url": "https://x/", "timeout_seconds": 0}"#, "settings.timeout_seconds"),
            (r#"{"url": "https://x/", "max_size": "64MiB"}"#, "settings.max_size"),
            (r#"{"url": "https://x/", "max_size": "lots"}"#, "a size is"),
            (r#"{"url": "https://x/", "receipt_url": "https://x/r"}"#, "{receipt}"),
            (r#"{"url": "https://x/", "headers": {"X A": "1"}}"#, "name of a header"),
            (r#"{"url": "https://x/", "headers": {"X": "1\r\n2"}}"#, "control characters"),
            (r#"{"url": "https://x/", "headers": {"HOST": "y"}}"#, "not yours"),
            (r#"{"url": "https://x/", "secret": "a", "headers": {"authorization": "y"}}"#, "choose one"),
            (r#"{"url": "https://x/", "secret": "a}"}"#, "name of a secret"),
            (r#"{"url": "https://x/", "content": "html"}"#, "unknown variant"),
            (r#"{"url": "https://x/", "urls": 1}"#, "unknown field"),
        ] {
            let error = check(json).expect_err(json);
            assert!(error.contains(told), "{json}: {error}");
        }
    }

    #[test]
    fn sizes_are_numbers_or_texts_with_a_unit() {
        assert_eq!(Size::parse("24MiB"), Some(24 << 20));
        assert_eq!(Size::parse("64 KiB"), Some(65_536));
        assert_eq!(Size::parse("1MB"), Some(1_000_000));
        assert_eq!(Size::parse("9999MiB"), None);
        assert_eq!(Size::parse("MiB"), None);
    }

    #[test]
    fn a_secret_becomes_a_bearer_token_that_the_host_fills_in() {
        let settings = check(
            r#"{"url": "https://x/", "secret": "token", "headers": {"X-Key": "a{secret:one}b{secret:two}"}}"#,
        )
        .unwrap();
        let headers: Vec<_> = settings.request_headers().collect();
        assert_eq!(headers[1], ("Authorization".to_owned(), "Bearer {secret:token}".to_owned()));
        assert_eq!(settings.secrets(), ["one", "two", "token"]);
    }
}
