//! Receipt: the far end's later word on something it accepted.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Deferral, FailureClass, Response, TypedAddress};

/// What a receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptState {
    /// Nothing final yet.
    Pending(Response),
    /// It arrived.
    Delivered(Response),
    /// The gateway took the file; what it does with it is not known.
    Relayed(Response),
    /// It will not arrive.
    Failed {
        /// A permanent response (5xx).
        response: Response,
        /// Why.
        class: FailureClass,
    },
    /// The far end gave up in a way that another attempt may mend.
    Retry(Deferral),
}

impl ReceiptState {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> ReceiptWord {
        match self {
            Self::Pending(_) => ReceiptWord::Pending,
            Self::Delivered(_) => ReceiptWord::Delivered,
            Self::Relayed(_) => ReceiptWord::Relayed,
            Self::Failed { .. } => ReceiptWord::Failed,
            Self::Retry(_) => ReceiptWord::Retry,
        }
    }

    /// The response that goes with it.
    #[must_use]
    pub fn response(&self) -> &Response {
        match self {
            Self::Pending(r) | Self::Delivered(r) | Self::Relayed(r) => r,
            Self::Failed { response, .. } => response,
            Self::Retry(deferral) => &deferral.response,
        }
    }
}

/// What a receipt says, without the words around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiptWord {
    /// Nothing final yet.
    Pending,
    /// It arrived.
    Delivered,
    /// It went on into a world that does not report back.
    Relayed,
    /// It will not arrive.
    Failed,
    /// It is to be tried again.
    Retry,
}

impl ReceiptWord {
    /// The word for it in events and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Failed => "failed",
            Self::Retry => "retry",
        }
    }

    /// Whether both can be true of one thing: the same word twice, or two that mean success.
    #[must_use]
    pub fn agrees_with(self, other: Self) -> bool {
        let success = |word| matches!(word, Self::Delivered | Self::Relayed);
        self == other || success(self) && success(other)
    }
}

impl fmt::Display for ReceiptWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A receipt as it came from an agent, a call-back or a drop directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The id given with `accepted`.
    pub id: String,
    /// Whom it is about, with or without the type: `FAX:+4930123`, `+4930123`, `jo@a.example`. For far ends whose ids
    /// repeat; `None`: everybody who waits for the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What it says.
    pub state: ReceiptState,
    /// Pages, segments, cost.
    #[serde(default)]
    pub details: Vec<(String, String)>,
}

impl Receipt {
    /// A receipt and nothing more.
    #[must_use]
    pub fn new(id: &str, state: ReceiptState) -> Self {
        Self { id: id.to_owned(), address: None, state, details: Vec::new() }
    }

    /// Whether it may be about this recipient: it names nobody, or the same address.
    ///
    /// Blanks around a named address and its type in front of it (`fax:`) do not count. Telephone numbers (digits,
    /// with one `+` before them and blanks, `-`, `.`, `/` and brackets between them) are compared by their digits:
    /// far ends mostly leave the `+` out. Of mail addresses the domain is compared without regard to case (RFC 5321
    /// 2.4). Everything else must be the same to the letter.
    #[must_use]
    pub fn is_about(&self, recipient: &TypedAddress) -> bool {
        self.address.as_deref().is_none_or(|text| names(text, recipient))
    }
}

fn names(text: &str, address: &TypedAddress) -> bool {
    let text = text.trim();
    let typed = text.split_once(':');
    let typed = typed.filter(|(kind, _)| kind.trim_end().eq_ignore_ascii_case(address.kind().as_str()));
    let bare = typed.map_or(text, |(_, rest)| rest.trim_start());
    if let Some((local, domain)) = address.smtp_parts() {
        return bare.rsplit_once('@').is_some_and(|(l, d)| l == local && d.eq_ignore_ascii_case(domain));
    }
    match (digits(bare), digits(address.address())) {
        (Some(named), Some(known)) => named == known,
        _ => bare == address.address() || text == address.address(),
    }
}

/// The digits of a telephone number; `None` when the text is none.
fn digits(text: &str) -> Option<String> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let fits = |c: char| c.is_ascii_digit() || matches!(c, ' ' | '-' | '.' | '/' | '(' | ')');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    (!digits.is_empty() && text.chars().all(fits)).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_about(text: &str, recipient: &str) -> bool {
        let state = ReceiptState::Delivered(Response::new(250, (2, 0, 0), "arrived"));
        let receipt = Receipt { address: Some(text.to_owned()), ..Receipt::new("r", state) };
        receipt.is_about(&TypedAddress::parse(recipient).unwrap())
    }

    #[test]
    fn a_receipt_without_an_address_may_be_about_anybody() {
        let receipt = Receipt::new("r", ReceiptState::Delivered(Response::new(250, (2, 0, 0), "arrived")));
        assert!(receipt.is_about(&TypedAddress::parse("FAX:+4930123").unwrap()));
    }

    #[test]
    fn numbers_are_the_same_whatever_stands_between_their_digits() {
        for text in ["+4930123", "4930123", "FAX:+4930123", " fax: +49 (30) 12-3 ", "+49.30/123"] {
            assert!(is_about(text, "FAX:+4930123"), "{text}");
        }
        assert!(is_about("0049 30 123", "SMS:0049-30-123"));
        for text in
            ["+49301234", "+493012", "030123", "SMS:+4930123", "+4930123x", "+", "", "4930123@a.example"]
        {
            assert!(!is_about(text, "FAX:+4930123"), "{text}");
        }
    }

    #[test]
    fn of_mail_addresses_only_the_domain_may_differ_in_case() {
        assert!(is_about("Jo@A.Example", "Jo@a.example") && is_about("smtp:Jo@a.example", "Jo@a.example"));
        assert!(!is_about("jo@a.example", "Jo@a.example"));
        assert!(!is_about("Jo@b.example", "Jo@a.example") && !is_about("Jo", "Jo@a.example"));
    }

    #[test]
    fn anything_else_is_compared_to_the_letter() {
        let x400 = "X400:c=DE;a= ;p=Firm;s=Jo";
        assert!(is_about("c=DE;a= ;p=Firm;s=Jo", x400) && is_about(x400, x400));
        assert!(!is_about("c=de;a= ;p=firm;s=jo", x400));
        assert!(
            is_about("night:shift", "PAGER:night:shift")
                && is_about("pager:night:shift", "PAGER:night:shift")
        );
        assert!(!is_about("1#2", "PAGER:12"));
    }

    #[test]
    fn success_agrees_with_success_and_with_nothing_else() {
        use ReceiptWord::{Delivered, Failed, Relayed, Retry};
        assert!(
            Delivered.agrees_with(Relayed) && Relayed.agrees_with(Delivered) && Failed.agrees_with(Failed)
        );
        assert!(!Delivered.agrees_with(Failed) && !Failed.agrees_with(Relayed) && !Retry.agrees_with(Failed));
    }
}
