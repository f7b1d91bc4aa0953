//! Rules about settings that do not fit, and the settings that do not fit.

use postern_model::{Refusal, Response};
use serde_json::{Map, Value, json};

use super::Finding;
use super::observed::{Observed, Part, Said, Step, judge};

/// Settings of an agent's own that are spoilt, at most.
const MAX_SPOILT: usize = 20;

/// Settings that do not fit, in words and as they are.
pub(super) struct Case {
    pub(super) what: String,
    pub(super) settings: Value,
}

/// Settings that are no table, and what comes of spoiling those that are given, one by one.
pub(super) fn cases(given: &Value) -> Vec<Case> {
    let whole = [json!({}), json!(null), json!(7), json!("text"), json!([1, 2])];
    let mut cases: Vec<Case> = whole.into_iter().map(|s| case(format!("settings = {s}"), s)).collect();
    let Value::Object(given) = given else { return cases };
    for (name, value) in given.iter().take(MAX_SPOILT) {
        cases.push(case(format!("settings without {name:?}"), without(given, name)));
        for spoilt in spoilt(value) {
            cases.push(case(format!("settings.{name} = {spoilt}"), with(given, name, spoilt)));
        }
    }
    cases
}

fn case(what: String, settings: Value) -> Case {
    Case { what, settings }
}

/// A value of another type, null, and an empty one of the same type.
fn spoilt(value: &Value) -> Vec<Value> {
    match value {
        Value::String(_) => vec![json!({ "not": "expected" }), Value::Null, json!("")],
        Value::Array(_) => vec![json!({ "not": "expected" }), Value::Null, json!([])],
        Value::Object(_) => vec![json!("not expected"), Value::Null, json!({})],
        _ => vec![json!({ "not": "expected" }), Value::Null, json!("")],
    }
}

fn without(given: &Map<String, Value>, name: &str) -> Value {
    let mut settings = given.clone();
    settings.remove(name);
    Value::Object(settings)
}

fn with(given: &Map<String, Value>, name: &str, value: Value) -> Value {
    let mut settings = given.clone();
    settings.insert(name.to_owned(), value);
    Value::Object(settings)
}

pub(super) fn settings_never_trap(observed: &Observed) -> Finding {
    let mut tried = observed.part(Part::Settings).peekable();
    if tried.peek().is_none() {
        return Finding::NotApplicable(observed.no_connection());
    }
    judge(tried.find_map(|step| match &step.said {
        Said::NotLoaded(text) => Some(format!("{}: {text}", step.what)),
        _ => step.fault(),
    }))
}

/// A refusal counts as one because of settings when the settings that fit are not refused in the same words.
pub(super) fn bad_settings_are_named(observed: &Observed) -> Finding {
    let refusal = |step: &Step| match &step.said {
        Said::Refused(refusal) if step.seen.faults.is_empty() => Some(response(refusal).clone()),
        _ => None,
    };
    let otherwise: Vec<Response> = observed.in_earnest().filter_map(refusal).collect();
    let refusals = observed.part(Part::Settings).filter_map(|step| Some((step, refusal(step)?)));
    let mut refusals = refusals.filter(|(_, response)| !otherwise.contains(response)).peekable();
    if refusals.peek().is_none() {
        return Finding::NotApplicable("it refused no settings".to_owned());
    }
    let names = |text: &str| {
        let text = text.to_lowercase();
        text.contains("settings") || observed.settings.iter().any(|name| text.contains(&name.to_lowercase()))
    };
    judge(
        refusals
            .find(|(_, response)| !names(&response.text))
            .map(|(step, response)| format!("{}: refused with {response}", step.what)),
    )
}

fn response(refusal: &Refusal) -> &Response {
    match refusal {
        Refusal::DeferQueue(deferral) => &deferral.response,
        Refusal::FailQueue { response, .. } => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_left_out_and_spoilt_alone() {
        let cases = cases(&json!({ "url": "https://a/", "n": 3 }));
        let find = |what: &str| cases.iter().find(|case| case.what == what).map(|case| &case.settings);
        assert_eq!(find("settings without \"n\""), Some(&json!({ "url": "https://a/" })));
        assert_eq!(find("settings.url = null"), Some(&json!({ "url": null, "n": 3 })));
        assert_eq!(
            find("settings.n = {\"not\":\"expected\"}"),
            Some(&json!({ "url": "https://a/", "n": { "not": "expected" } }))
        );
        assert_eq!(cases.len(), 5 + 2 * 4);
    }
}
