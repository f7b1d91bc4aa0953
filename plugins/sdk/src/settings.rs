//! Settings: the connector's table as a type of the agent, with an error that an operator understands.

use serde::de::DeserializeOwned;

use crate::imports;

/// The settings of this connector.
///
/// # Errors
/// When they do not fit: the text names the setting and what is wrong with it.
pub fn load<S: DeserializeOwned>() -> Result<S, String> {
    parse(&imports::settings())
}

/// Reads settings from the JSON text that the host hands over.
pub(crate) fn parse<S: DeserializeOwned>(json: &str) -> Result<S, String> {
    let json = if json.trim().is_empty() { "{}" } else { json };
    let mut reader = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let text = without_position(&error.inner().to_string());
        if path == "." { format!("settings: {text}") } else { format!("settings.{path}: {text}") }
    })
}

/// Cuts the place in the JSON text away: the operator wrote another text, in another format.
fn without_position(text: &str) -> String {
    text.rfind(" at line ").map_or(text, |end| &text[..end]).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[allow(dead_code, reason = "only its type is tested")]
        url: String,
        #[serde(default)]
        #[allow(dead_code, reason = "only its type is tested")]
        headers: std::collections::BTreeMap<String, String>,
    }

    fn error(json: &str) -> String {
        parse::<Settings>(json).unwrap_err()
    }

    #[test]
    fn an_error_names_the_setting_and_not_a_place_that_nobody_wrote() {
        assert_eq!(error(""), "settings: missing field `url`");
        assert_eq!(error(r#"{"url": 7}"#), "settings.url: invalid type: integer `7`, expected a string");
        assert_eq!(
            error(r#"{"url": "x", "headers": {"X-A": true}}"#),
            "settings.headers.X-A: invalid type: boolean `true`, expected a string"
        );
        assert_eq!(
            error(r#"{"ulr": "x"}"#),
            "settings.ulr: unknown field `ulr`, expected `url` or `headers`"
        );
    }

    #[test]
    fn settings_that_fit_are_read() {
        assert_eq!(parse::<Settings>(r#"{"url": "x"}"#).unwrap().url, "x");
    }
}
