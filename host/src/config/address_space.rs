//! AddressSpace: what a connector is responsible for, written `TYPE:pattern;cost` (Exchange: `AddressSpaces`).

use std::fmt;
use std::str::FromStr;

use postern_model::{AddressType, TypedAddress};

use super::values::{is_host_name, quoted};

/// A type of addresses, a pattern they must match and what it costs to send them this way.
///
/// SMTP patterns are about the domain: `*` (all), `fax.example` (this domain) and `*.fax.example` (the domains below
/// it). For any other type the pattern is about the whole address, and `*` in it stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressSpace {
    /// The type of the addresses.
    pub kind: AddressType,
    /// The pattern; an SMTP pattern is in lower case.
    pub pattern: String,
    /// From 1 (best) to [`AddressSpace::MAX_COST`]; chooses between equally specific matches.
    pub cost: u8,
}

/// How closely an address space fits an address: the greater, the closer.
///
/// An exact pattern beats every wildcard; among wildcards the one with more literal text wins, so `*` comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Specificity {
    exact: bool,
    literal: usize,
}

impl fmt::Display for Specificity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.exact, self.literal) {
            (true, _) => f.write_str("exact"),
            (false, 0) => f.write_str("any"),
            (false, n) => write!(f, "{n} characters"),
        }
    }
}

impl AddressSpace {
    /// The greatest cost (Exchange: 100).
    pub const MAX_COST: u8 = 100;
    /// The cost when none is given (Exchange: 1).
    pub const DEFAULT_COST: u8 = 1;
    /// The longest pattern, in bytes.
    pub const MAX_PATTERN: usize = 1024;

    /// Reads `TYPE:pattern;cost`. The type may be left out for SMTP and the cost for 1. As X.400 patterns hold
    /// semicolons themselves, only digits after the last one are a cost.
    ///
    /// # Errors
    /// When the pattern is empty, too long or not one for its type, or the cost is not within 1 to 100.
    pub fn parse(text: &str) -> Result<Self, AddressSpaceError> {
        let (rest, cost) = split_cost(text.trim())?;
        let typed =
            rest.split_once(':').and_then(|(kind, pattern)| Some((AddressType::new(kind).ok()?, pattern)));
        let (kind, pattern) = typed.unwrap_or_else(|| (AddressType::smtp(), rest));
        let pattern = pattern.trim();
        if pattern.is_empty() || pattern.len() > Self::MAX_PATTERN {
            return Err(AddressSpaceError::Length(text.to_owned()));
        }
        if pattern.chars().any(char::is_control) {
            return Err(AddressSpaceError::Control);
        }
        if !kind.is_smtp() {
            return Ok(Self { kind, pattern: pattern.to_owned(), cost });
        }
        let pattern = pattern.to_lowercase();
        let domain = pattern.strip_prefix("*.").unwrap_or(&pattern);
        let literal = pattern.starts_with('[') && pattern.ends_with(']');
        if pattern == "*" || is_host_name(domain) || literal {
            return Ok(Self { kind, pattern, cost });
        }
        Err(AddressSpaceError::Domain(pattern))
    }

    /// Whether the address belongs to it, and how closely it fits. Letter case does not matter.
    #[must_use]
    pub fn matches(&self, address: &TypedAddress) -> Option<Specificity> {
        if address.kind() != &self.kind {
            return None;
        }
        let Some((_, domain)) = address.smtp_parts() else {
            let literal = self.pattern.chars().filter(|c| *c != '*').count();
            let exact = !self.pattern.contains('*');
            return wildcard(&self.pattern, address.address()).then_some(Specificity { exact, literal });
        };
        let domain = domain.to_lowercase();
        if self.pattern == "*" {
            return Some(Specificity { exact: false, literal: 0 });
        }
        let literal = self.pattern.chars().count();
        if let Some(parent) = self.pattern.strip_prefix('*') {
            // The dot stays with the parent, so that `*.a.example` is not about `ba.example`.
            let below = domain.len() > parent.len() && domain.ends_with(parent);
            return below.then_some(Specificity { exact: false, literal: literal - 1 });
        }
        (domain == self.pattern).then_some(Specificity { exact: true, literal })
    }

    /// Whether it takes every address of its type.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.pattern == "*"
    }
}

/// Splits `;digits` off the end.
fn split_cost(text: &str) -> Result<(&str, u8), AddressSpaceError> {
    let Some((rest, cost)) = text.rsplit_once(';') else { return Ok((text, AddressSpace::DEFAULT_COST)) };
    let cost = cost.trim();
    let signed = cost.strip_prefix(['-', '+']).unwrap_or(cost);
    if cost.is_empty() || !signed.bytes().all(|b| b.is_ascii_digit()) {
        return Ok((text, AddressSpace::DEFAULT_COST));
    }
    match cost.parse::<u8>() {
        Ok(number @ 1..=AddressSpace::MAX_COST) => Ok((rest, number)),
        _ => Err(AddressSpaceError::Cost(cost.to_owned())),
    }
}

/// Whether `text` fits `pattern`, in which each `*` stands for any text. Linear in practice: only the last `*` is
/// ever tried again.
pub(super) fn wildcard(pattern: &str, text: &str) -> bool {
    let lower = |s: &str| s.chars().flat_map(char::to_lowercase).collect::<Vec<_>>();
    let (pattern, text) = (lower(pattern), lower(text));
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && pattern[p] == text[t] {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, t));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

impl fmt::Display for AddressSpace {
    /// `TYPE:pattern;cost`, always with type and cost.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{};{}", self.kind, self.pattern, self.cost)
    }
}

impl FromStr for AddressSpace {
    type Err = AddressSpaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Why a text is not an address space.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressSpaceError {
    /// The cost is not within 1 to 100.
    #[error("the cost {0} is out of range, 1 to 100 are accepted")]
    Cost(String),
    /// Nothing is left for the pattern, or too much.
    #[error("{} has no pattern, or one of more than 1024 bytes", quoted(.0))]
    Length(String),
    /// Control characters are never part of an address.
    #[error("an address space must not hold control characters")]
    Control,
    /// An SMTP pattern that is no domain.
    #[error("{} is not `*`, a domain or `*.domain`", quoted(.0))]
    Domain(String),
}

impl AddressSpaceError {
    /// What to write instead.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Domain(pattern) if pattern.contains('@') => {
                "an SMTP address space is about the domain; single addresses are turned into another type by [[rewrites]]"
                    .to_owned()
            }
            Self::Domain(pattern) if pattern.starts_with('*') => {
                format!("write \"*.{}\" for the domains below one", pattern.trim_start_matches(['*', '.']))
            }
            _ => "write TYPE:pattern;cost, as \"SMTP:fax.example\", \"SMTP:*.fax.example;10\", \"FAX:+49*\" or \"SMS:*\""
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(text: &str) -> AddressSpace {
        AddressSpace::parse(text).unwrap()
    }

    fn fit(pattern: &str, address: &str) -> Option<Specificity> {
        space(pattern).matches(&TypedAddress::parse(address).unwrap())
    }

    #[test]
    fn type_and_cost_may_be_left_out() {
        for text in
            ["SMTP:contoso.com;1", "contoso.com;1", "SMTP:contoso.com", "contoso.com", "smtp:Contoso.COM ; 1"]
        {
            assert_eq!(space(text).to_string(), "SMTP:contoso.com;1", "{text}");
        }
        assert_eq!(space("FAX:*;20").to_string(), "FAX:*;20");
        assert_eq!(space("*").to_string(), "SMTP:*;1");
    }

    #[test]
    fn an_x400_pattern_keeps_its_semicolons() {
        assert_eq!(space("X400:c=DE;a=*;p=Firm").to_string(), "X400:c=DE;a=*;p=Firm;1");
        assert_eq!(space("X400:c=DE;a=*;p=Firm;7").to_string(), "X400:c=DE;a=*;p=Firm;7");
        assert!(fit("X400:c=DE;a=*;p=Firm*", "X400:c=de;a=adatum;p=Firm;s=Jo").is_some());
    }

    #[test]
    fn what_is_no_address_space_is_refused_with_a_hint() {
        use AddressSpaceError as E;
        assert!(matches!(AddressSpace::parse("FAX:*;0"), Err(E::Cost(_))));
        assert!(matches!(AddressSpace::parse("FAX:*;101"), Err(E::Cost(_))));
        assert!(matches!(AddressSpace::parse("FAX:*;-1"), Err(E::Cost(_))));
        assert!(matches!(AddressSpace::parse("FAX:"), Err(E::Length(_))));
        assert!(matches!(AddressSpace::parse(";5"), Err(E::Length(_))));
        assert!(matches!(AddressSpace::parse("FAX:a\tb"), Err(E::Control)));
        for text in ["*contoso.com", "jo@fax.example", "fax.example:25", "SMTP:a..b", "SMTP:fax.*"] {
            assert!(matches!(AddressSpace::parse(text), Err(E::Domain(_))), "{text}");
        }
        assert!(AddressSpace::parse("*contoso.com").unwrap_err().hint().contains("\"*.contoso.com\""));
        assert!(AddressSpace::parse("jo@fax.example").unwrap_err().hint().contains("[[rewrites]]"));
    }

    #[test]
    fn smtp_patterns_are_about_the_domain() {
        assert!(fit("fax.example", "1@Fax.Example").is_some());
        assert!(fit("fax.example", "1@sub.fax.example").is_none());
        assert!(fit("*.fax.example", "1@a.b.fax.example").is_some());
        assert!(fit("*.fax.example", "1@fax.example").is_none());
        assert!(fit("*.fax.example", "1@xfax.example").is_none());
        assert!(fit("*", "1@fax.example").is_some());
        assert!(fit("*", "FAX:1").is_none());
    }

    #[test]
    fn other_patterns_are_about_the_whole_address() {
        assert!(fit("FAX:+49*", "FAX:+4930123").is_some());
        assert!(fit("FAX:+49*", "FAX:+430123").is_none());
        assert!(fit("FAX:+49*", "SMS:+4930123").is_none());
        assert!(fit("PAGER:a*b*c", "PAGER:aXbbYc").is_some());
        assert!(fit("PAGER:a*b*c", "PAGER:aXbbYcd").is_none());
        assert!(fit("PAGER:Ward 7", "PAGER:ward 7").is_some());
    }

    #[test]
    fn closer_fits_are_greater() {
        let order = ["FAX:*", "FAX:+4*", "FAX:+49*", "FAX:+4930123"].map(|p| fit(p, "FAX:+4930123").unwrap());
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        let order =
            ["*", "*.example", "*.fax.example", "a.fax.example"].map(|p| fit(p, "1@a.fax.example").unwrap());
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
        assert_eq!(order.map(|s| s.to_string()), ["any", "8 characters", "12 characters", "exact"]);
    }
}
