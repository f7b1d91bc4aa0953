//! Where two values differ, for people.

use std::collections::BTreeSet;

use serde_json::Value;

use super::taped::shown;

/// Differences that are told of one pair of values.
const MAX_DIFFERENCES: usize = 20;
/// The longest value in one, in bytes.
const MAX_SHOWN: usize = 160;

/// The places where `now` is not what was `recorded`, one line each: `body: recorded "a", now "b"`.
pub(super) fn differences(recorded: &Value, now: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk("", Some(recorded), Some(now), &mut found);
    found.truncate(MAX_DIFFERENCES);
    found
}

fn walk(place: &str, recorded: Option<&Value>, now: Option<&Value>, found: &mut Vec<String>) {
    let said = |value: Option<&Value>| value.is_some_and(|value| !is_nothing(value));
    if recorded == now || !said(recorded) && !said(now) || found.len() >= MAX_DIFFERENCES {
        return;
    }
    let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match (recorded, now) {
        (Some(Value::Object(one)), Some(Value::Object(other))) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                walk(&below(name), one.get(name), other.get(name), found);
            }
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => {
            for at in 0..one.len().max(other.len()) {
                walk(&below(&at.to_string()), one.get(at), other.get(at), found);
            }
        }
        _ => {
            let show = |value: Option<&Value>, other: Option<&Value>| match value {
                None => "nothing".to_owned(),
                Some(value) => shown(&from_where_they_part(value, other), MAX_SHOWN),
            };
            let place = if place.is_empty() { String::new() } else { format!("{place}: ") };
            found.push(format!("{place}recorded {}, now {}", show(recorded, now), show(now, recorded)));
        }
    }
}

/// Whether a value says no more than one that is not there: a later version may have more fields.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(_) | Value::Bool(true) | Value::String(_) => false,
    }
}

/// A long text from shortly before the place where another one parts from it: its beginning would show nothing.
fn from_where_they_part(value: &Value, other: Option<&Value>) -> Value {
    let (Some(text), Some(other)) = (value.as_str(), other.and_then(Value::as_str)) else {
        return value.clone();
    };
    if text.len() <= MAX_SHOWN {
        return value.clone();
    }
    let same = text.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let mut from = same.saturating_sub(20);
    while !text.is_char_boundary(from) {
        from -= 1;
    }
    let dots = if from > 0 { "..." } else { "" };
    Value::String(format!("{dots}{}", &text[from..]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_place_that_differs_is_named() {
        let one = json!({ "same": 1, "list": [1, 2], "gone": true, "deep": { "text": "a" } });
        let other = json!({ "same": 1, "list": [1, 3, 4], "deep": { "text": "b" } });
        assert_eq!(
            differences(&one, &other),
            [
                "deep.text: recorded \"a\", now \"b\"",
                "gone: recorded true, now nothing",
                "list.1: recorded 2, now 3",
                "list.2: recorded nothing, now 4",
            ]
        );
        assert!(differences(&one, &one).is_empty());
        assert!(
            differences(&json!({ "a": 1 }), &json!({ "a": 1, "b": false, "c": null, "d": [] })).is_empty()
        );
        assert_eq!(differences(&json!(1), &json!(2)), ["recorded 1, now 2"]);
    }

    #[test]
    fn a_long_text_is_shown_where_it_differs() {
        let long = "x".repeat(5_000);
        let found = differences(&json!(format!("{long}one")), &json!(format!("{long}two")));
        assert!(found[0].contains("xone") && found[0].contains("xtwo") && found[0].len() < 200, "{found:?}");
        let many: Value = (0..1000).collect();
        assert_eq!(differences(&many, &json!([])).len(), MAX_DIFFERENCES);
    }
}
