//! Retry-After: seconds or a date (RFC 9110 10.2.3).

use std::time::{Duration, UNIX_EPOCH};

/// The longest wish that is passed on, in seconds: a week.
pub const MAX_SECONDS: u32 = 7 * 24 * 3600;

/// The wish in seconds, at most [`MAX_SECONDS`]; `now` is in seconds since 1970. A date that is past means at once.
pub fn parse(value: &str, now: u32) -> Option<u32> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(value.parse().map_or(MAX_SECONDS, |seconds: u32| seconds.min(MAX_SECONDS)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let now = UNIX_EPOCH + Duration::from_secs(now.into());
    let wait = date.duration_since(now).unwrap_or(Duration::ZERO).as_secs();
    Some(u32::try_from(wait).map_or(MAX_SECONDS, |seconds| seconds.min(MAX_SECONDS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-11-14T22:13:20Z, a Tuesday.
    const NOW: u32 = 1_700_000_000;

    #[test]
    fn seconds_and_dates_are_understood() {
        assert_eq!(parse("120", NOW), Some(120));
        assert_eq!(parse(" 0 ", NOW), Some(0));
        assert_eq!(parse("Tue, 14 Nov 2023 22:15:20 GMT", NOW), Some(120));
        assert_eq!(parse("Tue, 14 Nov 2023 22:00:00 GMT", NOW), Some(0));
    }

    #[test]
    fn wishes_are_bounded_and_nonsense_is_none() {
        assert_eq!(parse("99999999999999", NOW), Some(MAX_SECONDS));
        assert_eq!(parse("Sun, 14 Nov 2123 22:15:20 GMT", NOW), Some(MAX_SECONDS));
        for bad in ["", "-1", "1.5", "soon", "Tue, 99 Nov 2023 22:15:20 GMT"] {
            assert_eq!(parse(bad, NOW), None, "{bad}");
        }
    }
}
