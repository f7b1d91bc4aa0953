//! Taped: what agents ask of their host and what it answers, as values in a recording.

use postern_model::text::one_line;
use serde_json::{Map, Value, json};

use super::base64;
use super::masks::RecordingMasks;
use crate::bindings::imported::{http, state, tcp};

/// Something that a recording holds, without secrets.
pub(crate) trait Taped: Sized {
    /// As a value.
    fn write(&self, masks: &RecordingMasks) -> Value;
    /// Of a value; `None` when it is not one of these.
    fn read(value: &Value) -> Option<Self>;
}

/// A question as a value, from the names and values of what it consists of.
pub(crate) fn question<const N: usize>(parts: [(&str, Value); N]) -> Value {
    Value::Object(parts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

/// Bytes as a value: text where they are text.
pub(super) fn bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::String(text.to_owned()),
        Err(_) => json!({ "base64": base64::encode(bytes) }),
    }
}

/// The bytes of such a value.
pub(super) fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.clone().into_bytes()),
        other => base64::decode(other.get("base64")?.as_str()?),
    }
}

/// A value for people: one line, cut.
pub(super) fn shown(value: &Value, max: usize) -> String {
    match value {
        Value::String(text) => one_line(&format!("{text:?}"), max),
        other => one_line(&other.to_string(), max),
    }
}

impl Taped for () {
    fn write(&self, _: &RecordingMasks) -> Value {
        Value::Null
    }

    fn read(value: &Value) -> Option<Self> {
        value.is_null().then_some(())
    }
}

impl Taped for bool {
    fn write(&self, _: &RecordingMasks) -> Value {
        Value::Bool(*self)
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Taped for u64 {
    fn write(&self, _: &RecordingMasks) -> Value {
        Value::from(*self)
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl Taped for u32 {
    fn write(&self, _: &RecordingMasks) -> Value {
        Value::from(*self)
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl Taped for String {
    fn write(&self, masks: &RecordingMasks) -> Value {
        Value::String(masks.text(self))
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Taped for Vec<u8> {
    fn write(&self, masks: &RecordingMasks) -> Value {
        bytes(&masks.apply(self))
    }

    fn read(value: &Value) -> Option<Self> {
        bytes_of(value)
    }
}

impl Taped for Vec<String> {
    fn write(&self, masks: &RecordingMasks) -> Value {
        self.iter().map(|text| text.write(masks)).collect()
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(String::read).collect()
    }
}

impl Taped for Vec<(String, String)> {
    fn write(&self, masks: &RecordingMasks) -> Value {
        self.iter().map(|pair| pair.write(masks)).collect()
    }

    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(<(String, String)>::read).collect()
    }
}

impl<A: Taped, B: Taped> Taped for (A, B) {
    fn write(&self, masks: &RecordingMasks) -> Value {
        json!([self.0.write(masks), self.1.write(masks)])
    }

    fn read(value: &Value) -> Option<Self> {
        let [a, b] = &value.as_array()?[..] else { return None };
        Some((A::read(a)?, B::read(b)?))
    }
}

impl<T: Taped> Taped for Option<T> {
    fn write(&self, masks: &RecordingMasks) -> Value {
        self.as_ref().map_or(Value::Null, |value| value.write(masks))
    }

    fn read(value: &Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::read(value).map(Some) }
    }
}

impl<T: Taped, F: Taped> Taped for Result<T, F> {
    fn write(&self, masks: &RecordingMasks) -> Value {
        match self {
            Ok(value) => json!({ "ok": value.write(masks) }),
            Err(fault) => json!({ "fault": fault.write(masks) }),
        }
    }

    fn read(value: &Value) -> Option<Self> {
        match value.get("fault") {
            Some(fault) => F::read(fault).map(Err),
            None => T::read(value.get("ok")?).map(Ok),
        }
    }
}

impl Taped for http::Response {
    fn write(&self, masks: &RecordingMasks) -> Value {
        question([
            ("status", self.status.into()),
            ("headers", self.headers.write(masks)),
            ("body", self.body.write(masks)),
        ])
    }

    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            status: value.get("status")?.as_u64()?.try_into().ok()?,
            headers: Taped::read(value.get("headers")?)?,
            body: Taped::read(value.get("body")?)?,
        })
    }
}

/// A fault with a name, and a text where it has one.
fn fault(name: &str, text: Option<&String>, masks: &RecordingMasks) -> Value {
    text.map_or_else(|| json!(name), |text| json!({ name: masks.text(text) }))
}

/// The name and text of such a fault.
fn named(value: &Value) -> Option<(&str, String)> {
    if let Some(name) = value.as_str() {
        return Some((name, String::new()));
    }
    let (name, text) = value.as_object()?.iter().next()?;
    Some((name, text.as_str()?.to_owned()))
}

impl Taped for http::Fault {
    fn write(&self, masks: &RecordingMasks) -> Value {
        match self {
            Self::Denied(why) => fault("denied", Some(why), masks),
            Self::Timeout => fault("timeout", None, masks),
            Self::Connect(why) => fault("connect", Some(why), masks),
            Self::Tls(why) => fault("tls", Some(why), masks),
            Self::TooLarge => fault("too-large", None, masks),
            Self::Other(why) => fault("other", Some(why), masks),
        }
    }

    fn read(value: &Value) -> Option<Self> {
        Some(match named(value)? {
            ("denied", why) => Self::Denied(why),
            ("timeout", _) => Self::Timeout,
            ("connect", why) => Self::Connect(why),
            ("tls", why) => Self::Tls(why),
            ("too-large", _) => Self::TooLarge,
            ("other", why) => Self::Other(why),
            _ => return None,
        })
    }
}

impl Taped for tcp::Fault {
    fn write(&self, masks: &RecordingMasks) -> Value {
        match self {
            Self::Denied(why) => fault("denied", Some(why), masks),
            Self::Timeout => fault("timeout", None, masks),
            Self::Connect(why) => fault("connect", Some(why), masks),
            Self::Tls(why) => fault("tls", Some(why), masks),
            Self::Closed => fault("closed", None, masks),
            Self::Other(why) => fault("other", Some(why), masks),
        }
    }

    fn read(value: &Value) -> Option<Self> {
        Some(match named(value)? {
            ("denied", why) => Self::Denied(why),
            ("timeout", _) => Self::Timeout,
            ("connect", why) => Self::Connect(why),
            ("tls", why) => Self::Tls(why),
            ("closed", _) => Self::Closed,
            ("other", why) => Self::Other(why),
            _ => return None,
        })
    }
}

impl Taped for state::Fault {
    fn write(&self, masks: &RecordingMasks) -> Value {
        match self {
            Self::NotGranted => fault("not-granted", None, masks),
            Self::Quota => fault("quota", None, masks),
            Self::Other(why) => fault("other", Some(why), masks),
        }
    }

    fn read(value: &Value) -> Option<Self> {
        Some(match named(value)? {
            ("not-granted", _) => Self::NotGranted,
            ("quota", _) => Self::Quota,
            ("other", why) => Self::Other(why),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again<T: Taped>(value: &T) -> Option<T> {
        T::read(&value.write(&RecordingMasks::default()))
    }

    #[test]
    fn what_is_taped_is_read_again() {
        let pairs = vec![("a".to_owned(), "b".to_owned())];
        let response = http::Response { status: 200, headers: pairs, body: vec![0xff, 0] };
        let answer: Result<_, http::Fault> = Ok(response);
        let Some(Ok(found)) = again(&answer) else { panic!() };
        assert_eq!((found.status, &found.body[..]), (200, &[0xff, 0][..]));
        let other = || "x".to_owned();
        for fault in [tcp::Fault::Timeout, tcp::Fault::Closed, tcp::Fault::Denied(other())] {
            assert_eq!(format!("{:?}", again(&fault).unwrap()), format!("{fault:?}"));
        }
        for fault in [http::Fault::TooLarge, http::Fault::Tls(other()), http::Fault::Other(other())] {
            assert_eq!(format!("{:?}", again(&fault).unwrap()), format!("{fault:?}"));
        }
        for fault in [state::Fault::NotGranted, state::Fault::Quota, state::Fault::Other(other())] {
            assert_eq!(format!("{:?}", again(&fault).unwrap()), format!("{fault:?}"));
        }
        let value: Result<Option<Vec<u8>>, String> = Ok(None);
        assert_eq!(again(&value), Some(value));
        assert_eq!(again(&Some(b"text".to_vec())), Some(Some(b"text".to_vec())));
        assert_eq!(again(&(u64::MAX, 3_u32)), Some((u64::MAX, 3)));
    }

    #[test]
    fn what_is_not_of_a_kind_is_not_read() {
        assert_eq!(u32::read(&json!(1_u64 << 40)), None);
        assert_eq!(Vec::<u8>::read(&json!({ "base64": "?" })), None);
        assert!(http::Fault::read(&json!("closed")).is_none());
        assert!(Result::<bool, String>::read(&json!({})).is_none());
    }
}
