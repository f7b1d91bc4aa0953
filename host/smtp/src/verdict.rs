//! Verdict: what the host answers when the session asks about a sender, a recipient or a message.

use crate::EnhancedCode;
use crate::reply::clean;

/// A reply code, an enhanced status code and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    code: u16,
    enhanced: Option<EnhancedCode>,
    text: String,
}

impl Verdict {
    /// 250 with the usual text.
    #[must_use]
    pub fn accept() -> Self {
        Self { code: 250, enhanced: None, text: String::new() }
    }

    /// 250 with a text of its own, for instance the id of the queued message.
    #[must_use]
    pub fn accept_with(text: &str) -> Self {
        Self { code: 250, enhanced: None, text: clean(text) }
    }

    /// Any answer. 2xx accepts; 4xx and 5xx refuse; 421 refuses and closes the connection (RFC 5321 3.8).
    /// Any other code becomes 451: what is not clearly said must neither lose nor accept a message. An
    /// enhanced code of another class than the reply code becomes `class.0.0`. The text is cut to one
    /// printable line.
    #[must_use]
    pub fn new(code: u16, enhanced: EnhancedCode, text: &str) -> Self {
        let code = if matches!(code, 200..=299 | 400..=599) { code } else { 451 };
        let general =
            EnhancedCode::new(u8::try_from(code / 100).expect("a reply code has three digits"), 0, 0);
        let enhanced = if enhanced.fits(code) { enhanced } else { general };
        Self { code, enhanced: Some(enhanced), text: clean(text) }
    }

    /// The reply code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Whether it accepts.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.code < 300
    }

    /// Whether the connection is to be closed after it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.code == 421
    }

    /// The enhanced code, or `usual` where none was given.
    pub(crate) fn enhanced_or(&self, usual: EnhancedCode) -> EnhancedCode {
        self.enhanced.unwrap_or(usual)
    }

    /// The text, or `usual` where none was given.
    pub(crate) fn text_or<'a>(&'a self, usual: &'a str) -> &'a str {
        if self.text.is_empty() { usual } else { &self.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_that_is_not_clear_refuses_for_now() {
        for code in [0, 100, 199, 300, 354, 399, 600, u16::MAX] {
            let verdict = Verdict::new(code, EnhancedCode::new(2, 0, 0), "?");
            assert_eq!((verdict.code(), verdict.is_accepted()), (451, false), "{code}");
        }
    }

    #[test]
    fn the_enhanced_code_goes_with_the_reply_code() {
        let usual = EnhancedCode::new(2, 1, 5);
        assert_eq!(
            Verdict::new(550, EnhancedCode::new(4, 2, 1), "x").enhanced_or(usual),
            EnhancedCode::new(5, 0, 0)
        );
        assert_eq!(
            Verdict::new(550, EnhancedCode::new(5, 1, 1), "x").enhanced_or(usual),
            EnhancedCode::new(5, 1, 1)
        );
        assert_eq!(Verdict::accept().enhanced_or(usual), usual);
    }
}
