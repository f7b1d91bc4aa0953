//! Values with units: sizes, durations, numbers, networks, host names and the other small things that keys hold.

use std::fmt::Display;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use jiff::SignedDuration;
use toml::de::DeValue;

use super::raw::Wrong;
use postern_model::text;

/// The longest duration that is accepted: a year and a bit.
pub const MAX_DURATION: SignedDuration = SignedDuration::from_hours(400 * 24);
/// The longest host name (RFC 1035 2.3.4), in bytes.
pub const MAX_HOST_NAME: usize = 255;

type Value<'a> = DeValue<'a>;

/// What a foreign text looks like in a message: quoted, on one line, not too long.
pub(super) fn quoted(foreign: &str) -> String {
    format!("\"{}\"", text::one_line(foreign, 80))
}

/// A string.
pub(super) fn string(value: &Value<'_>) -> Result<String, Wrong> {
    value.as_str().map(str::to_owned).ok_or_else(|| Wrong::kind("a string", value))
}

/// A string of at least one character and without control characters.
pub(super) fn line(value: &Value<'_>) -> Result<String, Wrong> {
    let found = string(value)?;
    if found.trim().is_empty() {
        return Err(Wrong::new("the text is empty"));
    }
    if found.chars().any(char::is_control) {
        return Err(Wrong::new("the text holds control characters or line breaks"));
    }
    Ok(found)
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| Wrong {
        hint: Some("write true or false without quotes".to_owned()),
        ..Wrong::kind("true or false", value)
    })
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&Value<'_>) -> Result<T, Wrong> {
    move |value| {
        let found = string(value)?;
        let hit = words.iter().find(|(word, _)| *word == found).map(|(_, meaning)| *meaning);
        hit.ok_or_else(|| {
            let list = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
            Wrong::hinted(
                format!("{} is not one of the words for this key", quoted(&found)),
                format!("write one of {list}"),
            )
        })
    }
}

fn whole(value: &Value<'_>) -> Result<u64, Wrong> {
    let Some(integer) = value.as_integer() else { return Err(Wrong::kind("a whole number", value)) };
    u64::from_str_radix(integer.as_str().trim_start_matches('+'), integer.radix())
        .map_err(|_| Wrong::new(format!("{integer} is negative or too large")))
}

fn within<T: PartialOrd + Display>(found: T, least: T, most: T) -> Result<T, Wrong> {
    if found < least || found > most {
        return Err(Wrong::new(format!("{found} is out of range, {least} to {most} are accepted")));
    }
    Ok(found)
}

/// A whole number from `least` to `most`.
pub(super) fn number(least: u32, most: u32) -> impl Fn(&Value<'_>) -> Result<u32, Wrong> {
    move |value| {
        let found = within(whole(value)?, u64::from(least), u64::from(most))?;
        Ok(u32::try_from(found).unwrap_or(most))
    }
}

/// A whole number from `least` to `most`.
pub(super) fn whole_number(least: u64, most: u64) -> impl Fn(&Value<'_>) -> Result<u64, Wrong> {
    move |value| within(whole(value)?, least, most)
}

/// As [`number`], for counts of things in memory.
pub(super) fn count(least: u32, most: u32) -> impl Fn(&Value<'_>) -> Result<usize, Wrong> {
    let number = number(least, most);
    move |value| number(value).map(|found| found as usize)
}

/// Bytes from `least` to `most`: `"35MiB"`, `"64KB"`, or a whole number of bytes.
pub(super) fn size(least: u64, most: u64) -> impl Fn(&Value<'_>) -> Result<u64, Wrong> {
    move |value| {
        let bytes = match value.as_str() {
            Some(found) => parse_size(found)?,
            None if value.is_integer() => whole(value)?,
            None => return Err(Wrong { hint: Some(SIZE_HINT.to_owned()), ..Wrong::kind("a size", value) }),
        };
        within(ByteSize(bytes), ByteSize(least), ByteSize(most)).map(|size| size.as_u64())
    }
}

const SIZE_HINT: &str = "write a number with a unit: \"64KiB\", \"35MiB\", \"1GiB\"; plain numbers are bytes";

/// As [`size`], and `"unlimited"` for `None`.
pub(super) fn limit(least: u64, most: u64) -> impl Fn(&Value<'_>) -> Result<Option<u64>, Wrong> {
    let size = size(least, most);
    move |value| if value.as_str() == Some("unlimited") { Ok(None) } else { size(value).map(Some) }
}

/// A number of bytes with its unit; units of 1024 are `KiB`, `MiB`, `GiB`, units of 1000 `KB`, `MB`, `GB`.
fn parse_size(found: &str) -> Result<u64, Wrong> {
    let parsed = found.trim().parse::<ByteSize>();
    parsed
        .map(|size| size.as_u64())
        .map_err(|_| Wrong::hinted(format!("{} is not a size", quoted(found)), SIZE_HINT))
}

const DURATION_HINT: &str = "write numbers with units: \"90s\", \"5m\", \"2h\", \"3d\", \"1h30m\"";

/// Reads `90s`, `5m`, `2h`, `3d`, `1h30m`, `250ms`: whole numbers, each with its unit, from large to small.
///
/// # Errors
/// With a sentence, when it is anything else or longer than [`MAX_DURATION`].
pub fn parse_duration(found: &str) -> Result<SignedDuration, String> {
    const UNITS: [(&str, i64); 6] =
        [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let wrong = || format!("{} is not a duration", quoted(found));
    let mut rest = found.trim();
    let (mut total, mut smallest) = (0_i64, i64::MAX);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: i64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(wrong)?;
        if *unit >= smallest {
            return Err(wrong());
        }
        smallest = *unit;
        rest = rest[letters..].trim_start();
        total = number.checked_mul(*unit).and_then(|n| n.checked_add(total)).ok_or_else(wrong)?;
    }
    let duration = SignedDuration::from_millis(total);
    if duration > MAX_DURATION {
        return Err(format!("{} is too long, at most 400d is accepted", quoted(found)));
    }
    Ok(duration)
}

/// A duration as [`parse_duration`] reads it.
#[must_use]
pub fn show_duration(duration: SignedDuration) -> String {
    let mut rest = duration.as_millis();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, length) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
        if rest >= length {
            out.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    out
}

/// A duration from `least` to `most`.
pub(super) fn duration(
    least: SignedDuration,
    most: SignedDuration,
) -> impl Fn(&Value<'_>) -> Result<SignedDuration, Wrong> {
    move |value| {
        let Some(found) = value.as_str() else {
            return Err(Wrong { hint: Some(DURATION_HINT.to_owned()), ..Wrong::kind("a duration", value) });
        };
        let parsed = parse_duration(found).map_err(|message| Wrong::hinted(message, DURATION_HINT))?;
        if parsed < least || parsed > most {
            let (least, most) = (show_duration(least), show_duration(most));
            return Err(Wrong::new(format!(
                "{} is out of range, {least} to {most} are accepted",
                quoted(found)
            )));
        }
        Ok(parsed)
    }
}

/// As [`duration`], for timers of the running host.
pub(super) fn timer(
    least: SignedDuration,
    most: SignedDuration,
) -> impl Fn(&Value<'_>) -> Result<Duration, Wrong> {
    let duration = duration(least, most);
    move |value| duration(value).map(SignedDuration::unsigned_abs)
}

/// A duration of so many milliseconds, as their number.
pub(super) fn milliseconds(least: u64, most: u64) -> impl Fn(&Value<'_>) -> Result<u64, Wrong> {
    let bound = |number| SignedDuration::from_millis(i64::try_from(number).unwrap_or(i64::MAX));
    let timer = timer(bound(least), bound(most));
    move |value| timer(value).map(|found| u64::try_from(found.as_millis()).unwrap_or(most))
}

/// As [`duration`], and `"never"` for `None`.
pub(super) fn duration_or_never(
    least: SignedDuration,
    most: SignedDuration,
) -> impl Fn(&Value<'_>) -> Result<Option<SignedDuration>, Wrong> {
    let duration = duration(least, most);
    move |value| {
        if value.as_str() == Some("never") {
            return Ok(None);
        }
        duration(value).map(Some).map_err(|wrong| Wrong {
            hint: Some(
                wrong.hint.map_or("or write \"never\"".to_owned(), |hint| format!("{hint}; or \"never\"")),
            ),
            ..wrong
        })
    }
}

/// A network `10.0.0.0/8`, `fe80::/10`, or one address.
pub(super) fn network(value: &Value<'_>) -> Result<IpNet, Wrong> {
    let found = string(value)?;
    parse_network(&found).ok_or_else(|| {
        Wrong::hinted(
            format!("{} is not a network", quoted(&found)),
            "write an address or a CIDR range: \"192.0.2.7\", \"10.0.0.0/8\", \"2001:db8::/32\"",
        )
    })
}

pub(super) fn parse_network(found: &str) -> Option<IpNet> {
    let found = found.trim();
    let network: IpNet = found.parse().ok().or_else(|| found.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(network.trunc())
}

/// An address and a port to listen on; port 0 lets the system choose.
pub(super) fn socket(value: &Value<'_>) -> Result<SocketAddr, Wrong> {
    let found = string(value)?;
    found.trim().parse().map_err(|_| {
        Wrong::hinted(
            format!("{} is not an address and a port", quoted(&found)),
            "write \"127.0.0.1:2525\", \"[::1]:2525\" or \"0.0.0.0:25\"",
        )
    })
}

/// A host name or domain, in lower case (RFC 1123 2.1, with letters of any script and `_`).
pub(super) fn host_name(value: &Value<'_>) -> Result<String, Wrong> {
    let found = string(value)?.trim().to_lowercase();
    if is_host_name(&found) {
        return Ok(found);
    }
    Err(Wrong::hinted(
        format!("{} is not a host name", quoted(&found)),
        "write labels of letters, digits and '-' with dots between: \"gw1.example\"",
    ))
}

/// Whether `name` is made of labels of letters, digits, `-` and `_`, at most 63 bytes each.
pub(super) fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    name.len() <= MAX_HOST_NAME && name.split('.').all(label)
}

/// `host:port`, with IPv6 addresses in brackets. The port may be left out when there is a default.
pub(super) fn host_and_port(found: &str, default_port: Option<u16>) -> Option<(String, u16)> {
    let found = found.trim();
    let (host, port) = match found.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => {
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match found.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return None,
            Some((host, port)) => (host, Some(port)),
            None => (found, None),
        },
    };
    let port = match port {
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0)?,
        None => default_port?,
    };
    let known = host.parse::<IpAddr>().is_ok() || is_host_name(host);
    known.then(|| (host.to_lowercase(), port))
}

/// Permission bits in octal text: `"0640"`.
pub(super) fn file_mode(value: &Value<'_>) -> Result<u32, Wrong> {
    let hint = "write the bits in octal: \"0640\"";
    let Some(found) = value.as_str() else {
        return Err(Wrong { hint: Some(hint.to_owned()), ..Wrong::kind("permission bits", value) });
    };
    let bits = u32::from_str_radix(found.trim_start_matches("0o"), 8).ok().filter(|bits| *bits <= 0o777);
    let bits =
        bits.ok_or_else(|| Wrong::hinted(format!("{} are not permission bits", quoted(found)), hint))?;
    if bits & 0o600 != 0o600 {
        return Err(Wrong::hinted("the host itself could not read and write such a file", hint));
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(text: &str, parser: impl Fn(&Value<'_>) -> Result<T, Wrong>) -> Result<T, String> {
        let value = DeValue::parse(text).unwrap();
        parser(value.get_ref()).map_err(|wrong| wrong.message)
    }

    #[test]
    fn durations_are_sums_of_units_and_are_shown_as_they_are_read() {
        for (text, seconds) in [
            ("90s", 90),
            ("5m", 300),
            ("2h", 7200),
            ("3d", 259_200),
            ("1h30m", 5400),
            ("1w", 604_800),
            ("1h 5s", 3605),
        ] {
            let read = parse_duration(text).unwrap();
            assert_eq!(read, SignedDuration::from_secs(seconds), "{text}");
            assert_eq!(parse_duration(&show_duration(read)), Ok(read), "{text}");
        }
        assert_eq!(parse_duration("1s250ms"), Ok(SignedDuration::from_millis(1250)));
        for text in [
            "",
            "5",
            "m",
            "-5m",
            "5 minutes",
            "1m1m",
            "5m1h",
            "99999999999999999999s",
            "99999999999999d",
            "401d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_and_limits() {
        let any = || size(0, u64::MAX);
        assert_eq!(with("\"35MiB\"", any()), Ok(35 << 20));
        assert_eq!(with("\"64KB\"", any()), Ok(64_000));
        assert_eq!(with("\"64 KiB\"", any()), Ok(65_536));
        assert_eq!(with("4096", any()), Ok(4096));
        assert_eq!(
            with("\"1KiB\"", size(4096, 8192)).unwrap_err(),
            "1.0 KiB is out of range, 4.0 KiB to 8.0 KiB are accepted"
        );
        assert_eq!(with("-1", any()).unwrap_err(), "-1 is negative or too large");
        assert_eq!(with("\"many\"", any()).unwrap_err(), "\"many\" is not a size");
        assert_eq!(with("true", any()).unwrap_err(), "expected a size, found a boolean");
        assert_eq!(with("\"unlimited\"", limit(1, 2)), Ok(None));
    }

    #[test]
    fn numbers_of_any_radix_are_read_and_kept_in_range() {
        assert_eq!(with("1_000", number(1, 1000)), Ok(1000));
        assert_eq!(with("0x10", number(1, 1000)), Ok(16));
        assert_eq!(with("0", number(1, 1000)).unwrap_err(), "0 is out of range, 1 to 1000 are accepted");
        assert_eq!(with("\"5\"", number(1, 1000)).unwrap_err(), "expected a whole number, found a string");
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        assert_eq!(host_and_port("Mail.example:25", None), Some(("mail.example".into(), 25)));
        assert_eq!(host_and_port("mail.example", Some(25)), Some(("mail.example".into(), 25)));
        assert_eq!(host_and_port("[::1]:2525", None), Some(("::1".into(), 2525)));
        assert_eq!(host_and_port("192.0.2.1:25", None), Some(("192.0.2.1".into(), 25)));
        for text in
            ["mail.example", "mail.example:0", "mail.example:99999", "::1:25", "[::1]25", "a b:25", ":25", ""]
        {
            assert_eq!(host_and_port(text, None), None, "{text}");
        }
    }

    #[test]
    fn single_addresses_are_networks_of_one() {
        assert_eq!(parse_network("192.0.2.7"), "192.0.2.7/32".parse().ok());
        assert_eq!(parse_network("10.1.2.3/8"), "10.0.0.0/8".parse().ok());
        assert_eq!(parse_network("::1"), "::1/128".parse().ok());
        assert_eq!(parse_network("10.0.0.0/33"), None);
    }

    #[test]
    fn file_modes_are_octal_and_leave_the_owner_his_rights() {
        assert_eq!(with("\"0640\"", file_mode), Ok(0o640));
        assert_eq!(with("\"660\"", file_mode), Ok(0o660));
        assert!(with("\"0440\"", file_mode).is_err());
        assert!(with("\"0999\"", file_mode).is_err());
        assert!(with("640", file_mode).is_err());
    }
}
