//! Response: an SMTP-style reply that the sender, the operator and tracking will read.

/// A reply code, an enhanced status code (RFC 3463) and a text. The host keeps the text on one line and cuts it at
/// 512 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub code: u16,
    /// Class, subject and detail.
    pub status: (u8, u16, u16),
    /// What happened.
    pub text: String,
}

impl Response {
    /// A response as the far end gave it. An outcome that carries it makes its codes fit, see [`Self::fitted`].
    #[must_use]
    pub fn new(code: u16, status: (u8, u16, u16), text: &str) -> Self {
        Self { code, status, text: text.to_owned() }
    }

    /// The same with codes of the class that is demanded: 2 for success, 4 for "not now", 5 for "never".
    ///
    /// A reply code of another class becomes 250, 451 or 550; an enhanced status of another class keeps nothing but the
    /// class demanded, because its subject and detail mean something else there.
    #[must_use]
    pub(crate) fn fitted(mut self, class: u8) -> Self {
        if self.code / 100 != u16::from(class) {
            self.code = match class {
                2 => 250,
                4 => 451,
                _ => 550,
            };
        }
        if self.status.0 != class {
            self.status = (class, 0, 0);
        }
        self
    }
}

/// A text alone: the outcome that carries it chooses the codes.
impl From<&str> for Response {
    fn from(text: &str) -> Self {
        Self::new(0, (0, 0, 0), text)
    }
}

/// A text alone: the outcome that carries it chooses the codes.
impl From<String> for Response {
    fn from(text: String) -> Self {
        Self { code: 0, status: (0, 0, 0), text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_fit_are_kept_and_others_are_replaced() {
        assert_eq!(Response::new(421, (4, 7, 1), "x").fitted(4), Response::new(421, (4, 7, 1), "x"));
        assert_eq!(Response::new(421, (4, 7, 1), "x").fitted(5), Response::new(550, (5, 0, 0), "x"));
        assert_eq!(Response::from("x").fitted(2), Response::new(250, (2, 0, 0), "x"));
        assert_eq!(Response::from("x".to_owned()).fitted(4), Response::new(451, (4, 0, 0), "x"));
    }
}
