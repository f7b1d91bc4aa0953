//! RecordingMasks: keeps secrets out of recordings, in the forms that agents give them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use memchr::memmem;
use serde_json::Value;

use super::base64;
use crate::Secret;

/// The shortest text that is looked for, in bytes: something shorter stands everywhere by chance.
pub(super) const MIN_MASKED: usize = 4;

/// How far a place that holds a secret reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// The secret alone.
    Itself,
    /// All base64 around it, which its neighbours share letters with.
    Base64,
    /// All hexadecimal digits around it.
    Hex,
}

impl Reach {
    fn takes(self, byte: u8) -> bool {
        match self {
            Self::Itself => false,
            Self::Base64 => byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte),
            Self::Hex => byte.is_ascii_hexdigit(),
        }
    }
}

/// Something that must not stand in a recording.
#[derive(Clone, PartialEq, Eq)]
struct Needle {
    bytes: Vec<u8>,
    reach: Reach,
    mask: String,
}

/// Replaces secrets by their names: as they are, and as base64, hexadecimal digits, and escaped for URLs and JSON. What an
/// agent makes of a secret in another way (a signature) is its own doing and does not tell the secret.
#[derive(Clone, Default)]
pub(crate) struct RecordingMasks {
    needles: Vec<Needle>,
    /// The length of the longest needle.
    longest: usize,
}

/// What stands in a recording in the place of a secret.
pub(crate) fn placeholder(name: &str) -> String {
    format!("(secret {name})")
}

impl RecordingMasks {
    /// Masks for these secrets. Those of several lines are masked as a whole and line by line.
    pub(crate) fn of(secrets: &BTreeMap<String, Secret>) -> Self {
        let mut needles = Vec::new();
        for (name, secret) in secrets {
            let texts = std::iter::once(secret.reveal()).chain(secret.reveal().lines().map(str::trim));
            for text in texts.filter(|text| text.len() >= MIN_MASKED) {
                let mask = placeholder(name);
                let forms = forms(text).into_iter().filter(|(bytes, _)| bytes.len() >= MIN_MASKED);
                needles.extend(forms.map(|(bytes, reach)| Needle { bytes, reach, mask: mask.clone() }));
            }
        }
        // The longest first: one may be the beginning of another.
        needles.sort_by(|a, b| b.bytes.len().cmp(&a.bytes.len()).then_with(|| a.bytes.cmp(&b.bytes)));
        needles.dedup();
        let longest = needles.first().map_or(0, |needle| needle.bytes.len());
        Self { needles, longest }
    }

    /// The length of the longest thing that is looked for, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Where secrets stand, in order and apart from one another, with what stands there instead.
    fn found(&self, bytes: &[u8]) -> Vec<(usize, usize, &str)> {
        let mut found = Vec::new();
        for needle in &self.needles {
            // A match within the run around an earlier one is masked with it: looking around each would take as many steps
            // as there are matches times the length of the run.
            let mut end = 0;
            for at in memmem::find_iter(bytes, &needle.bytes) {
                if at < end {
                    continue;
                }
                let (mut from, mut to) = (at, at + needle.bytes.len());
                while from > 0 && needle.reach.takes(bytes[from - 1]) {
                    from -= 1;
                }
                while to < bytes.len() && needle.reach.takes(bytes[to]) {
                    to += 1;
                }
                end = to;
                found.push((from, to, needle.mask.as_str()));
            }
        }
        found.sort_by_key(|(from, to, _)| (*from, usize::MAX - to));
        let mut apart: Vec<(usize, usize, &str)> = Vec::new();
        for (from, to, mask) in found {
            match apart.last_mut() {
                Some((_, end, _)) if from < *end => *end = to.max(*end),
                _ => apart.push((from, to, mask)),
            }
        }
        apart
    }

    /// Whether a secret lies across the place where `before` ends and `after` begins.
    pub(super) fn lies_across(&self, before: &[u8], after: &[u8]) -> bool {
        let both = [before, after].concat();
        let across = |needle: &Needle| {
            let mut found = memmem::find_iter(&both, &needle.bytes);
            found.any(|at| at < before.len() && at + needle.bytes.len() > before.len())
        };
        self.needles.iter().any(across)
    }

    /// The bytes without the secrets.
    pub(super) fn apply<'b>(&self, bytes: &'b [u8]) -> Cow<'b, [u8]> {
        let found = self.found(bytes);
        if found.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let (mut masked, mut done) = (Vec::with_capacity(bytes.len()), 0);
        for (from, to, mask) in found {
            masked.extend_from_slice(&bytes[done..from]);
            masked.extend_from_slice(mask.as_bytes());
            done = to;
        }
        masked.extend_from_slice(&bytes[done..]);
        Cow::Owned(masked)
    }

    /// A text without the secrets.
    pub(super) fn text(&self, text: &str) -> String {
        // Needles are whole characters, so that what is around them stays text.
        String::from_utf8_lossy(&self.apply(text.as_bytes())).into_owned()
    }

    /// Every text in a value without the secrets, names of fields included.
    pub(super) fn value(&self, value: Value) -> Value {
        if self.needles.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(values) => values.into_iter().map(|value| self.value(value)).collect(),
            Value::Object(fields) => {
                fields.into_iter().map(|(name, value)| (self.text(&name), self.value(value))).collect()
            }
            plain => plain,
        }
    }
}

/// The forms of a secret that are looked for.
fn forms(text: &str) -> Vec<(Vec<u8>, Reach)> {
    let mut forms = vec![(text.as_bytes().to_vec(), Reach::Itself)];
    for letters in base64::within(text.as_bytes()) {
        forms.push((letters.replace('+', "-").replace('/', "_").into_bytes(), Reach::Base64));
        forms.push((letters.into_bytes(), Reach::Base64));
    }
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push((hex.to_uppercase().into_bytes(), Reach::Hex));
    forms.push((hex.into_bytes(), Reach::Hex));
    let mut escaped = Vec::new();
    for (kept, space) in URL_ESCAPES {
        escaped.push(in_url(text, kept, space, false));
        escaped.push(in_url(text, kept, space, true));
    }
    let in_json = Value::from(text).to_string();
    let in_json = in_json[1..in_json.len() - 1].to_owned();
    escaped.extend([in_json.replace('/', "\\/"), in_ascii_json(&in_json), in_json, in_xml(text)]);
    let others = escaped.into_iter().filter(|form| form != text);
    forms.extend(others.map(|form| (form.into_bytes(), Reach::Itself)));
    forms
}

/// Which marks common libraries leave as they are in a URL or a form, and what they make of a space: RFC 3986 with both
/// spaces, JavaScript's `encodeURIComponent` and `encodeURI`, Python's `quote` and `quote_plus`, and forms by the URL standard.
const URL_ESCAPES: [(&str, &str); 6] = [
    ("-._~", "%20"),
    ("-._~", "+"),
    ("-_.!~*'()", "%20"),
    ("-._~/", "%20"),
    ("*-._", "+"),
    ("-_.!~*'();,/?:@&=+$#", "%20"),
];

/// A text as it stands in a URL.
fn in_url(text: &str, kept: &str, space: &str, lower: bool) -> String {
    let escaped = |byte: u8| match byte {
        b' ' => space.to_owned(),
        _ if byte.is_ascii_alphanumeric() || kept.as_bytes().contains(&byte) => char::from(byte).to_string(),
        _ if lower => format!("%{byte:02x}"),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escaped).collect()
}

/// What is JSON already, in ASCII alone: Python writes it so.
fn in_ascii_json(text: &str) -> String {
    let mut units = [0; 2];
    let mut ascii = String::new();
    for letter in text.chars() {
        if letter.is_ascii() {
            ascii.push(letter);
        } else {
            letter.encode_utf16(&mut units).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")));
        }
    }
    ascii
}

/// A text as it stands in XML.
fn in_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(secrets: &[(&str, &str)]) -> RecordingMasks {
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value)));
        RecordingMasks::of(&secrets.collect())
    }

    #[test]
    fn a_secret_is_masked_in_every_form_that_agents_give_it() {
        let masks =
            masks(&[("key", "pa\"ss wörd+1"), ("pem", "-----BEGIN\nMIIabcdef\n"), ("token", "a/b!+c=")]);
        let basic = base64::encode("user:pa\"ss wörd+1".as_bytes());
        let hex: String = "pa\"ss wörd+1".bytes().map(|byte| format!("{byte:02X}")).collect();
        for (text, expected) in [
            ("x pa\"ss wörd+1 y", "x (secret key) y"),
            (r#"{"p":"pa\"ss wörd+1"}"#, r#"{"p":"(secret key)"}"#),
            ("p=pa%22ss%20w%C3%B6rd%2B1&", "p=(secret key)&"),
            ("p=pa%22ss+w%C3%B6rd%2B1&", "p=(secret key)&"),
            ("p=pa%22ss%20w%c3%b6rd%2b1&", "p=(secret key)&"),
            (r#"{"p":"pa\"ss w\u00f6rd+1"}"#, r#"{"p":"(secret key)"}"#),
            ("<p>pa&quot;ss wörd+1</p>", "<p>(secret key)</p>"),
            ("?t=a%2Fb!%2Bc%3D", "?t=(secret token)"),
            ("?t=a/b%21%2Bc%3D", "?t=(secret token)"),
            (&format!("Basic {basic}, more"), "Basic (secret key), more"),
            (&format!("id {hex}."), "id (secret key)."),
            ("a MIIabcdef z", "a (secret pem) z"),
            ("nothing of it", "nothing of it"),
        ] {
            assert_eq!(masks.text(text), expected, "{text}");
        }
    }

    #[test]
    fn a_placeholder_masks_to_itself_in_every_form() {
        let (real, played) = (masks(&[("key", "hunter22")]), masks(&[("key", &placeholder("key"))]));
        assert_eq!(played.text("Bearer (secret key)"), "Bearer (secret key)");
        let basic = |secret: &str| format!("Basic {}", base64::encode(format!("me:{secret}").as_bytes()));
        assert_eq!(real.text(&basic("hunter22")), played.text(&basic("(secret key)")));
    }

    #[test]
    fn a_run_that_is_nothing_but_the_secret_is_gone_over_once() {
        let masks = masks(&[("key", "hunter22")]);
        let hex: String = "hunter22".bytes().map(|byte| format!("{byte:02x}")).collect();
        // With a look around for each of its 300,000 matches this would take hours.
        assert_eq!(masks.text(&hex.repeat(300_000)), "(secret key)");
    }

    #[test]
    fn one_within_another_and_side_by_side_are_masked_whole() {
        let masks =
            masks(&[("a", "s3cret"), ("b", "s3cret-and-more"), ("c", "more-to-come"), ("pin", "123")]);
        assert_eq!(masks.text("s3cret-and-more s3crets3cret 123"), "(secret b) (secret a)(secret a) 123");
        // Where two overlap nothing of either is left.
        assert_eq!(masks.text("s3cret-and-more-to-come"), "(secret b)");
        assert!(masks.lies_across(b"x s3c", b"ret y") && !masks.lies_across(b"x s3cret", b" y"));
        let value = serde_json::json!({ "s3cret": ["s3cret", 1, null] });
        assert_eq!(masks.value(value), serde_json::json!({ "(secret a)": ["(secret a)", 1, null] }));
    }
}
