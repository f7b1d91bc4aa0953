//! What a far end may write into its JSON answers, read leniently: fields that are not known are ignored, numbers pass
//! for texts.

use std::collections::BTreeMap;

use postern_agent_sdk::Response;
use serde::Deserialize;
use serde_json::Value;

/// The longest receipt id that is taken, in bytes; the host keeps no longer ones by default.
pub const MAX_RECEIPT: usize = 256;

/// The words that can stand in every answer, about all recipients or about one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Words {
    /// For the sender and the operator.
    pub text: Option<Text>,
    /// An SMTP reply code.
    pub code: Option<u16>,
    /// An enhanced status code (RFC 3463), as `"5.1.1"`.
    pub status: Option<Text>,
    /// A failure class.
    pub class: Option<Text>,
    /// Seconds.
    pub retry_after: Option<u32>,
    /// What to ask for later.
    pub receipt: Option<Text>,
    /// Seconds to wait for it at most.
    pub expires_after: Option<u32>,
    /// The far end's own id.
    pub remote_id: Option<Text>,
    /// Pages, segments, cost.
    pub details: BTreeMap<String, Text>,
}

/// A JSON string, number or truth value, as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Value")]
pub struct Text(pub String);

impl From<Value> for Text {
    fn from(value: Value) -> Self {
        Self(match value {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Words {
    /// The words about the first of several that say something: one recipient's before those about all.
    #[must_use]
    pub fn or(self, all: &Self) -> Self {
        Self {
            text: self.text.or_else(|| all.text.clone()),
            code: self.code,
            status: self.status,
            class: self.class.or_else(|| all.class.clone()),
            retry_after: self.retry_after.or(all.retry_after),
            receipt: self.receipt.or_else(|| all.receipt.clone()),
            expires_after: self.expires_after.or(all.expires_after),
            remote_id: self.remote_id.or_else(|| all.remote_id.clone()),
            details: if self.details.is_empty() { all.details.clone() } else { self.details },
        }
    }

    /// The response they make; codes of another class than the outcome's are replaced by the SDK.
    #[must_use]
    pub fn response(&self, fallback: (u8, u16, u16), text: &str) -> Response {
        let status = self.status.as_ref().and_then(|s| enhanced_status(&s.0)).unwrap_or(fallback);
        let text = self.text.as_ref().map_or_else(|| text.to_owned(), |own| format!("{text}: {}", own.0));
        Response::new(self.code.unwrap_or(0), status, &text)
    }

    /// The failure class, or another where they give none.
    #[must_use]
    pub fn class_or<'a>(&'a self, other: &'a str) -> &'a str {
        self.class.as_ref().map_or(other, |class| &class.0)
    }

    /// The details as pairs.
    #[must_use]
    pub fn details(&self) -> Vec<(String, String)> {
        self.details.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
    }
}

/// Reads `"5.1.1"`.
fn enhanced_status(text: &str) -> Option<(u8, u16, u16)> {
    let mut numbers = text.trim().split('.');
    let status =
        (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    (numbers.next().is_none() && status.1 <= 999 && status.2 <= 999).then_some(status)
}

/// Whether a text can be a receipt id.
#[must_use]
pub fn is_receipt(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_RECEIPT && !id.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pass_for_texts_and_unknown_fields_are_ignored() {
        let words: Words =
            serde_json::from_str(r#"{"receipt": 42, "remote_id": "a", "details": {"pages": 3}, "x": []}"#)
                .unwrap();
        assert_eq!(words.receipt.as_ref().unwrap().0, "42");
        assert_eq!(words.details(), [("pages".to_owned(), "3".to_owned())]);
    }

    #[test]
    fn an_enhanced_status_has_three_numbers() {
        assert_eq!(enhanced_status("5.1.1"), Some((5, 1, 1)));
        for bad in ["", "5.1", "5.1.1.1", "5.x.1", "5.1000.1", "999.1.1"] {
            assert_eq!(enhanced_status(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_receipt_is_short_and_visible() {
        assert!(is_receipt("https://a/r/1"));
        assert!(!is_receipt("") && !is_receipt("a\nb") && !is_receipt(&"x".repeat(257)));
    }
}
