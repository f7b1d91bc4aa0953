//! TelephoneNumber: the number that a recipient's address stands for.

use std::fmt;

use super::{Addressee, Unfit};

/// The most digits: E.164 has 15, and what is dialled before a number is a few more. Modems take 20.
pub const MAX_DIGITS: usize = 20;

/// A number of 1 to [`MAX_DIGITS`] digits, perhaps behind a `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelephoneNumber(String);

impl TelephoneNumber {
    /// The number in an address: `SMS:+49 170 123-4567`, `+491701234567@sms.example`. Spaces, dots, dashes, slashes and
    /// brackets are for people, and go.
    ///
    /// # Errors
    /// [`Unfit`] when there is anything else in it: gateways try anything as a number, and one that no network takes
    /// may block all that come after it.
    pub fn of(recipient: &Addressee) -> Result<Self, Unfit> {
        let for_people = |c: &char| matches!(c, ' ' | '.' | '-' | '/' | '(' | ')');
        let number: String = recipient.local.chars().filter(|c| !for_people(c)).collect();
        let digits = number.strip_prefix('+').unwrap_or(&number);
        let fits = (1..=MAX_DIGITS).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if fits {
            return Ok(Self(number));
        }
        let why = format!("{:?} is not a telephone number of 1 to {MAX_DIGITS} digits", recipient.local);
        Err(Unfit { status: Unfit::ADDRESS_SYNTAX, why })
    }

    /// It as it was written, with its `+`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its digits.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.strip_prefix('+').unwrap_or(&self.0)
    }

    /// Whether it begins with a country code.
    #[must_use]
    pub fn is_international(&self) -> bool {
        self.0.starts_with('+')
    }
}

impl fmt::Display for TelephoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(local: &str) -> Result<String, Unfit> {
        let recipient = Addressee { local: local.to_owned(), ..Addressee::default() };
        TelephoneNumber::of(&recipient).map(|number| number.to_string())
    }

    #[test]
    fn what_people_write_becomes_digits() {
        assert_eq!(number("+49 (170) 123-45.67/8").unwrap(), "+491701234567".to_owned() + "8");
        assert_eq!(number("01701234567").unwrap(), "01701234567");
        assert_eq!(number("110").unwrap(), "110");
    }

    #[test]
    fn what_is_no_number_is_refused_before_the_gateway_sees_it() {
        for wrong in
            ["", "+", "jo", "12a", "1+2", "++1", "٣٤٥", "123456789012345678901", "1;2", "1_2", "*100#"]
        {
            assert_eq!(number(wrong).unwrap_err().status, Unfit::ADDRESS_SYNTAX, "{wrong}");
        }
    }
}
