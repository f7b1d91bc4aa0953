//! Secret: a text that never shows itself. Masks: secrets kept out of texts that others wrote.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The shortest text that is masked, in bytes: something shorter stands in many texts by chance.
const MIN_MASKED: usize = 6;

/// A password, token or key. It prints as `Secret(..)`, so it cannot slip into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Only for handing it to an agent that was granted it, or to the far end.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Replaces secrets in the log lines of an agent that knows them, or that is told them back by a far end. It guards
/// against mistakes, not against an agent that wants to tell: that one can write them backwards.
#[derive(Default)]
pub(crate) struct Masks(Vec<(String, String)>);

impl Masks {
    /// Masks for these secrets. Those of several lines are masked as a whole and line by line.
    pub(crate) fn of(secrets: &BTreeMap<String, Secret>) -> Self {
        let mut masks = Vec::new();
        for (name, secret) in secrets {
            let texts = std::iter::once(secret.reveal()).chain(secret.reveal().lines().map(str::trim));
            let texts = texts.filter(|text| text.len() >= MIN_MASKED);
            masks.extend(texts.map(|text| (text.to_owned(), format!("(secret {name})"))));
        }
        // The longest first: one secret may be the beginning of another.
        masks.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        masks.dedup();
        Self(masks)
    }

    /// The text without the secrets.
    pub(crate) fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for (secret, mask) in &self.0 {
            if masked.contains(secret.as_str()) {
                masked = Cow::Owned(masked.replace(secret.as_str(), mask));
            }
        }
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_replaced_by_their_names() {
        let secrets =
            [("a", "s3cret-"), ("b", "s3cret-and-more"), ("pem", "-----BEGIN\nMIIabcdef\n"), ("pin", "1234")];
        let secrets = secrets.map(|(name, value)| (name.to_owned(), Secret::new(value)));
        let masks = Masks::of(&BTreeMap::from(secrets));
        assert_eq!(masks.apply("x s3cret-and-more, s3cret-"), "x (secret b), (secret a)");
        assert_eq!(masks.apply("line MIIabcdef of it"), "line (secret pem) of it");
        assert!(matches!(masks.apply("call 1234"), Cow::Borrowed("call 1234")));
    }
}
