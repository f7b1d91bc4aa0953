//! Rewrite: turning an address into another one before it is routed: `{number}@fax.example` into `FAX:{number}`.

use postern_model::{AddressType, TypedAddress};

use super::raw::{Section, Wrong};
use super::values::{quoted, string};

/// A rule of `[[rewrites]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    kind: AddressType,
    pattern: Vec<Piece>,
    target_kind: AddressType,
    target: Vec<Piece>,
}

/// An address after rewriting, with what the pattern captured on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The new address.
    pub address: TypedAddress,
    /// Names and texts, in the order of the pattern.
    pub captures: Vec<(String, String)>,
}

/// A piece of a pattern or target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// Text as it stands.
    Literal(String),
    /// `{name}`.
    Capture(String),
}

impl Rewrite {
    /// The most captures a pattern may have.
    pub const MAX_CAPTURES: usize = 8;

    /// Reads a pattern and a target, each an address whose type may be left out for SMTP and in which `{name}` stands
    /// for one or more characters.
    ///
    /// # Errors
    /// With a sentence, when a brace is left open, a name is odd or used twice, two captures touch, or the target uses
    /// a name that the pattern does not capture.
    pub fn parse(pattern: &str, target: &str) -> Result<Self, String> {
        let (kind, pattern) = pieces(pattern)?;
        let (target_kind, target) = pieces(target)?;
        let names = captures(&pattern).collect::<Vec<_>>();
        if names.len() > Self::MAX_CAPTURES {
            return Err(format!("more than {} captures", Self::MAX_CAPTURES));
        }
        if let Some(name) =
            names.iter().enumerate().find_map(|(at, name)| names[..at].contains(name).then_some(name))
        {
            return Err(format!("{{{name}}} is captured twice"));
        }
        if pattern.windows(2).any(|pair| matches!(pair, [Piece::Capture(_), Piece::Capture(_)])) {
            return Err("two captures touch, so where one ends is not clear".to_owned());
        }
        if let Some(name) = captures(&target).find(|name| !names.contains(name)) {
            return Err(format!("{{{name}}} is not captured by the pattern"));
        }
        Ok(Self { kind, pattern, target_kind, target })
    }

    /// The new address, if the rule fits. Letter case of literal text does not matter. The same text always gives the
    /// same captures: an earlier one is as short as possible.
    #[must_use]
    pub fn apply(&self, address: &TypedAddress) -> Option<Rewritten> {
        if address.kind() != &self.kind {
            return None;
        }
        let mut found = Vec::new();
        if !fits(&self.pattern, address.address(), &mut found) {
            return None;
        }
        let mut target = String::new();
        for piece in &self.target {
            match piece {
                Piece::Literal(text) => target.push_str(text),
                Piece::Capture(name) => {
                    target.push_str(found.iter().find(|(n, _)| n == name).map(|(_, t)| *t)?)
                }
            }
        }
        let address = TypedAddress::new(self.target_kind.clone(), &target).ok()?;
        let captures = found.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
        Some(Rewritten { address, captures })
    }

    /// The domain of the addresses it rewrites, when it is about SMTP addresses of one domain.
    #[must_use]
    pub fn domain(&self) -> Option<String> {
        let Some(Piece::Literal(last)) = self.pattern.last() else { return None };
        let (_, domain) = last.rsplit_once('@').filter(|_| self.kind.is_smtp())?;
        Some(domain.to_ascii_lowercase())
    }

    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let pattern = section.required("match", string, "write match = \"{number}@fax.example\"");
        let target = section.required("to", string, "write to = \"FAX:{number}\"");
        section.finish();
        let hint = "write {name} for any text: match = \"{number}@fax.example\", to = \"FAX:{number}\"";
        Self::parse(&pattern?, &target?).map_err(|message| section.fault(Wrong::hinted(message, hint))).ok()
    }
}

fn captures(pieces: &[Piece]) -> impl Iterator<Item = &str> {
    pieces.iter().filter_map(|piece| match piece {
        Piece::Capture(name) => Some(name.as_str()),
        Piece::Literal(_) => None,
    })
}

/// Splits `TYPE:text{name}text`.
fn pieces(text: &str) -> Result<(AddressType, Vec<Piece>), String> {
    let typed = text.split_once(':').and_then(|(kind, rest)| Some((AddressType::new(kind).ok()?, rest)));
    let (kind, mut rest) = typed.unwrap_or_else(|| (AddressType::smtp(), text));
    if kind.is_smtp() && !rest.contains('@') {
        return Err(format!("{} has no domain: an SMTP address is local-part@domain", quoted(text)));
    }
    if rest.is_empty() || rest.chars().any(char::is_control) {
        return Err(format!("{} is not an address", quoted(text)));
    }
    if rest.contains('*') {
        return Err(format!("{} holds a `*`, which has no meaning here", quoted(text)));
    }
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let brace = rest.find(['{', '}']).unwrap_or(rest.len());
        if brace > 0 {
            pieces.push(Piece::Literal(rest[..brace].to_owned()));
            rest = &rest[brace..];
            continue;
        }
        let name = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let (name, after) =
            name.ok_or_else(|| format!("{} has a brace without its partner", quoted(text)))?;
        let fits =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if !fits {
            return Err(format!("{} is not the name of a capture", quoted(name)));
        }
        pieces.push(Piece::Capture(name.to_owned()));
        rest = after;
    }
    Ok((kind, pieces))
}

/// Whether all of `text` fits the pieces; fills in the captures.
///
/// The ends are fixed, and each literal between two captures is taken where it comes first. If anything fits at all
/// then so does this, so nothing is ever tried twice: the text comes from strangers.
fn fits<'a>(mut pieces: &'a [Piece], mut text: &'a str, found: &mut Vec<(&'a str, &'a str)>) -> bool {
    if let [Piece::Literal(head), rest @ ..] = pieces {
        let Some(after) = strip_prefix_ignoring_case(text, head) else { return false };
        (pieces, text) = (rest, after);
    }
    if let [rest @ .., Piece::Literal(tail)] = pieces {
        let Some((before, end)) = text.len().checked_sub(tail.len()).and_then(|at| text.split_at_checked(at))
        else {
            return false;
        };
        if !end.eq_ignore_ascii_case(tail) {
            return false;
        }
        (pieces, text) = (rest, before);
    }
    while let [Piece::Capture(name), Piece::Literal(literal), rest @ ..] = pieces {
        let starts = text.char_indices().map(|(at, _)| at).skip(1);
        let hit = starts
            .into_iter()
            .find_map(|at| Some((&text[..at], strip_prefix_ignoring_case(&text[at..], literal)?)));
        let Some((captured, after)) = hit else { return false };
        found.push((name, captured));
        (pieces, text) = (rest, after);
    }
    match pieces {
        [Piece::Capture(name)] => {
            found.push((name, text));
            !text.is_empty()
        }
        _ => text.is_empty(),
    }
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrite(pattern: &str, target: &str, address: &str) -> Option<String> {
        let rule = Rewrite::parse(pattern, target).unwrap();
        rule.apply(&TypedAddress::parse(address).unwrap()).map(|new| new.address.to_string())
    }

    #[test]
    fn the_captured_text_goes_into_the_target() {
        let fax = |address| rewrite("{number}@fax.example", "FAX:{number}", address);
        assert_eq!(fax("+4930123@Fax.Example").as_deref(), Some("FAX:+4930123"));
        assert_eq!(fax("+4930123@sub.fax.example"), None);
        assert_eq!(fax("FAX:+4930123"), None);
        let sms = rewrite("SMS:00{rest}", "{rest}@sms.example", "SMS:0049171");
        assert_eq!(sms.as_deref(), Some("SMTP:49171@sms.example"));
    }

    #[test]
    fn several_captures_are_as_short_as_they_can_be() {
        let rule = Rewrite::parse("{who}-{number}@{box}.example", "FAX:{number}/{box}/{who}").unwrap();
        let new = rule.apply(&TypedAddress::parse("jo-12-3@fax.example").unwrap()).unwrap();
        assert_eq!(new.address.to_string(), "FAX:12-3/fax/jo");
        let names: Vec<_> = new.captures.iter().map(|(name, text)| format!("{name}={text}")).collect();
        assert_eq!(names, ["who=jo", "number=12-3", "box=fax"]);
    }

    #[test]
    fn an_earlier_capture_grows_until_the_rest_fits() {
        assert_eq!(rewrite("a{x}b@c.example", "T:{x}", "abcb@c.example").as_deref(), Some("T:bc"));
        assert_eq!(rewrite("{x}@c.example", "T:{x}", "a@b@c.example").as_deref(), Some("T:a@b"));
    }

    #[test]
    fn odd_rules_are_refused() {
        for (pattern, target, why) in [
            ("{number@fax.example", "FAX:{number}", "brace without its partner"),
            ("number}@fax.example", "FAX:1", "brace without its partner"),
            ("{a}{b}@fax.example", "FAX:{a}", "two captures touch"),
            ("{a}-{a}@fax.example", "FAX:{a}", "captured twice"),
            ("{a}@fax.example", "FAX:{b}", "not captured"),
            ("{a b}@fax.example", "FAX:1", "not the name of a capture"),
            ("*@fax.example", "FAX:1", "no meaning here"),
            ("fax.example", "FAX:1", "has no domain"),
            ("{a}@fax.example", "FAX:", "is not an address"),
        ] {
            let error = Rewrite::parse(pattern, target).unwrap_err();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }
}
