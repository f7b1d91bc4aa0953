//! The profile of a drop directory: the tables `json`, `parts`, `smstools`, `gammu` and `custom` of a foreign connector.

use std::path::PathBuf;
use std::str::FromStr;

use postern_drop::Profile;
use postern_drop::profile::{
    Alphabet, CodePage, Custom, Eml, GAMMU_MAX_CHARACTERS, Gammu, Json, LineEnd, Marker, MessageLines,
    NamePattern, Parts, Report, SMSTOOLS_MAX_CHARACTERS, Smstools, Subject, Template, TextStyle, Unmappable,
};
use toml::de::DeValue;

use super::raw::{Section, Wrong};
use super::values::{boolean, choice, count, line, number, quoted, string};

/// The words for the profiles.
const PROFILES: &[(&str, &str)] = &[
    ("eml", "eml"),
    ("json", "json"),
    ("parts", "parts"),
    ("smstools", "smstools"),
    ("gammu", "gammu"),
    ("custom", "custom"),
    ("exchange", "exchange"),
];

/// How the lines of a whole message end.
const MESSAGE_LINES: &[(&str, MessageLines)] =
    &[("crlf", MessageLines::AsReceived), ("lf", MessageLines::Lf)];

/// Reads the profile and its table.
pub(super) fn read(section: &Section<'_>) -> Profile {
    let name = section.or("profile", choice(PROFILES), "eml");
    let tables = [
        ("eml", eml as fn(&Section<'_>) -> Option<Profile>),
        ("json", json),
        ("parts", parts),
        ("smstools", smstools),
        ("gammu", gammu),
        ("custom", custom),
    ];
    let mut profile = None;
    for (known, read) in tables {
        // All are asked, so that each key is known whatever the profile is.
        let is_there = section.entry(known).is_some();
        let table = section.table(known);
        if known == name {
            profile = read(&table);
            table.finish();
        } else if is_there {
            let wrong = Wrong::hinted(
                format!("the profile is \"{name}\", so the settings of \"{known}\" mean nothing"),
                format!("write profile = \"{known}\", or leave the table out"),
            );
            section.entry(known).inspect(|entry| entry.fault(wrong));
        }
    }
    if name == "exchange" {
        // It has no settings, and so no table.
        return Profile::Exchange;
    }
    profile.unwrap_or_default()
}

#[allow(clippy::unnecessary_wraps, reason = "all tables are read alike")]
fn eml(table: &Section<'_>) -> Option<Profile> {
    let lines = table.or("line_end", choice(MESSAGE_LINES), MessageLines::default());
    Some(Profile::Eml(Eml { lines }))
}

#[allow(clippy::unnecessary_wraps, reason = "all tables are read alike")]
fn json(table: &Section<'_>) -> Option<Profile> {
    let lines = table.or("line_end", choice(MESSAGE_LINES), MessageLines::default());
    Some(Profile::Json(Json { lines }))
}

#[allow(clippy::unnecessary_wraps, reason = "all tables are read alike")]
fn parts(table: &Section<'_>) -> Option<Profile> {
    let default = Parts::default();
    let accept = table.list("accept", content_type).unwrap_or(default.accept);
    let refuse_others = table.or("refuse_others", boolean, default.refuse_others);
    Some(Profile::Parts(Parts { text: style(table), accept, refuse_others }))
}

#[allow(clippy::unnecessary_wraps, reason = "all tables are read alike")]
fn smstools(table: &Section<'_>) -> Option<Profile> {
    let default = Smstools::default();
    let most = u32::try_from(SMSTOOLS_MAX_CHARACTERS).expect("a small number");
    Some(Profile::Smstools(Smstools {
        alphabet: table.or("alphabet", choice(Alphabet::WORDS), default.alphabet),
        report: table.or("report", choice(Report::WORDS), default.report),
        subject: table.or("subject", choice(Subject::WORDS), default.subject),
        max_characters: table.or("max_characters", count(1, most), default.max_characters),
        checked: table.or("checked_folder", folder, default.checked),
        sent: table.or("sent_folder", folder, default.sent),
        failed: table.or("failed_folder", folder, default.failed),
        reports: table.or("report_folder", folder, default.reports),
    }))
}

#[allow(clippy::unnecessary_wraps, reason = "all tables are read alike")]
fn gammu(table: &Section<'_>) -> Option<Profile> {
    const ENCODINGS: &[(&str, CodePage)] = &[("utf-16", CodePage::Utf16), ("utf-8", CodePage::Utf8)];
    let default = Gammu::default();
    let most = u32::try_from(GAMMU_MAX_CHARACTERS).expect("a small number");
    Some(Profile::Gammu(Gammu {
        code_page: table.or("encoding", choice(ENCODINGS), default.code_page),
        report: table.or("report", choice(Report::WORDS), default.report),
        subject: table.or("subject", choice(Subject::WORDS), default.subject),
        max_characters: table.or("max_characters", count(1, most), default.max_characters),
        sent: table.or("sent_folder", folder, default.sent),
        error: table.or("error_folder", folder, default.error),
    }))
}

fn custom(table: &Section<'_>) -> Option<Profile> {
    const PER: &[(&str, bool)] = &[("recipient", true), ("message", false)];
    let per_recipient = table.or("files_per", choice(PER), false);
    let name = table.required("name", parsed::<NamePattern>, "write name = \"%08d\"");
    let extension = table.or("extension", extension, "TXT".to_owned());
    let upper_case = table.or("upper_case", boolean, false);
    let short_names = table.or("short_names", boolean, false);
    let counter_limit = table.optional("counter_limit", number(1, u32::MAX)).map(u64::from);
    let content = table.required("content", parsed::<Template>, "write content = \"{text}\"");
    let marker_extension = table.optional("marker_extension", self::extension);
    let marker_content = table.optional("marker_content", parsed::<Template>);
    let text = style(table);
    let (name, content) = (name?, content?);
    let marker = match (marker_extension, marker_content) {
        (Some(extension), content) => Some(Marker { extension, content: content.unwrap_or_default() }),
        (None, None) => None,
        (None, Some(_)) => {
            let hint = "write marker_extension = \"RDY\", or leave marker_content out";
            table.fault(Wrong::hinted("there is no marker file for marker_content", hint));
            None
        }
    };
    let custom = Custom { name, extension, upper_case, counter_limit, per_recipient, content, text, marker };
    check(table, &custom, short_names);
    Some(Profile::Custom(Box::new(custom)))
}

/// What is wrong with several settings of a custom profile together.
fn check(table: &Section<'_>, custom: &Custom, short_names: bool) {
    let marker = custom.marker.as_ref().map(|marker| marker.extension.as_str());
    if marker.is_some_and(|marker| marker.eq_ignore_ascii_case(&custom.extension)) {
        table.fault(Wrong::hinted(
            "the marker file would have the name of the data file",
            "give marker_extension and extension different values",
        ));
    }
    if let (Some(limit), Some(most)) = (custom.counter_limit, custom.name.counter_limit())
        && limit > most
    {
        let message = format!("counter_limit is {limit}, and the name has room for {most}");
        table.fault(Wrong::hinted(message, "write more digits into name, or lower counter_limit"));
    }
    if !custom.per_recipient && custom.name.names_a_recipient() {
        table.fault(Wrong::hinted(
            "a file for several recipients cannot be named after the number of one",
            "write files_per = \"recipient\", or take {number} out of name",
        ));
    }
    let is_long = custom.name.longest() > 8
        || custom.name.has_dots()
        || custom.extension.len() > 3
        || marker.is_some_and(|marker| marker.len() > 3);
    if short_names && is_long {
        table.fault(Wrong::hinted(
            "names could have more than 8 characters and an extension of 3",
            "shorten name and the extensions, for example name = \"%08d\", extension = \"TXT\"",
        ));
    }
}

/// How text is written.
fn style(table: &Section<'_>) -> TextStyle {
    let replacement = table.or("replacement", character, '?');
    let words = ["translate", "replace", "refuse"];
    let unmappable = |value: &DeValue<'_>| {
        let found = string(value)?;
        words.into_iter().find(|word| *word == found).ok_or_else(|| {
            let hint = "write \"translate\", \"replace\" or \"refuse\"";
            Wrong::hinted(format!("{} is not one of the words for this key", quoted(&found)), hint)
        })
    };
    let unmappable = match table.or("unmappable", unmappable, words[0]) {
        "replace" => Unmappable::Replace(replacement),
        "refuse" => Unmappable::Refuse,
        _ => Unmappable::Translate(replacement),
    };
    let code_page = table.or("code_page", choice(CodePage::WORDS), CodePage::default());
    if !code_page.has(replacement) {
        let message = format!("{} does not have the replacement {replacement:?}", code_page.word());
        table.fault(Wrong::hinted(message, "choose a character that every code page has, such as \"?\""));
    }
    let line_end = table.or("line_end", choice(LineEnd::WORDS), LineEnd::default());
    let line_width = table.optional("line_width", count(1, 10_000));
    TextStyle { code_page, unmappable, line_end, line_width }
}

fn parsed<T: FromStr>(value: &DeValue<'_>) -> Result<T, Wrong>
where
    T::Err: ToString,
{
    string(value)?.parse().map_err(|error: T::Err| Wrong::new(error.to_string()))
}

fn character(value: &DeValue<'_>) -> Result<char, Wrong> {
    let text = line(value)?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(Wrong::new(format!("{} is not one character", quoted(&text)))),
    }
}

/// What a name ends with: letters and digits, or nothing.
fn extension(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = string(value)?;
    if text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(text);
    }
    let hint = "write up to 20 letters and digits, without the dot";
    Err(Wrong::hinted(format!("{} cannot be the end of a name", quoted(&text)), hint))
}

fn content_type(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = line(value)?.to_ascii_lowercase();
    match text.split_once('/') {
        Some((kind, subtype)) if !kind.is_empty() && !subtype.is_empty() => Ok(text),
        _ => Err(Wrong::hinted(
            format!("{} is no content type", quoted(&text)),
            "write \"image/tiff\", \"image/*\" or \"*/*\"",
        )),
    }
}

/// A folder of the gateway: absolute, or from the drop directory on.
fn folder(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    line(value).map(PathBuf::from)
}
