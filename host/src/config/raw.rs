//! The file as written: tables and values with their places, and the reading of them key by key.
//!
//! A derived reader stops at the first thing it dislikes. Here each key is read on its own, what is wrong with it is
//! noted, and reading goes on, so that one check tells everything. Which keys a table knows is simply which ones were
//! asked for: the rest are faults.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Finding, Report, nearest};
use postern_model::text;

/// Why a value was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Wrong {
    /// A message without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// A message with a hint.
    pub fn hinted(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }

    /// For a value of another TOML type than `wanted`.
    pub fn kind(wanted: &str, found: &DeValue<'_>) -> Self {
        Self::new(format!("expected {wanted}, found {}", kind_of(found)))
    }
}

/// The TOML type of a value with its article.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The text being checked, where it came from, and all that was found so far.
pub(super) struct Document<'d> {
    file: PathBuf,
    folder: PathBuf,
    text: &'d str,
    root: &'d DeTable<'d>,
    faults: RefCell<Vec<(usize, Finding)>>,
    warnings: RefCell<Vec<(usize, Finding)>>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'d> Document<'d> {
    /// `shown` is named in findings; relative paths count from the folder of `absolute`.
    pub fn new(shown: &Path, absolute: &Path, text: &'d str, root: &'d DeTable<'d>) -> Self {
        Self {
            file: shown.to_owned(),
            folder: absolute.parent().unwrap_or(Path::new("")).to_owned(),
            text,
            root,
            faults: RefCell::default(),
            warnings: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    /// The top of the file.
    pub fn root(&'d self) -> Section<'d> {
        self.section(String::new(), String::new(), Some(self.root), 0..0)
    }

    fn section(
        &'d self,
        path: String,
        generic: String,
        table: Option<&'d DeTable<'d>>,
        span: Range<usize>,
    ) -> Section<'d> {
        Section { document: self, path, generic, table, span, asked: RefCell::default() }
    }

    /// A path in the file, made absolute from the file's folder.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Notes a fault at a place.
    pub fn fault(&self, span: Range<usize>, key: &str, wrong: Wrong) {
        self.faults.borrow_mut().push((span.start, self.finding(span, key, wrong)));
    }

    fn fault_unknown(&self, span: Range<usize>, key: &str, wrong: Wrong) {
        let start = span.start;
        let finding = finding(&self.file, self.text, span, key, wrong, Excerpt::UpToPlace);
        self.faults.borrow_mut().push((start, finding));
    }

    /// Notes a warning at a place.
    pub fn warn(&self, span: Range<usize>, key: &str, wrong: Wrong) {
        self.warnings.borrow_mut().push((span.start, self.finding(span, key, wrong)));
    }

    fn finding(&self, span: Range<usize>, key: &str, wrong: Wrong) -> Finding {
        let secret = span.is_empty() || key.split('.').any(may_hold_secret);
        finding(
            &self.file,
            self.text,
            span,
            key,
            wrong,
            if secret { Excerpt::Nothing } else { Excerpt::Line },
        )
    }

    /// Notes a fault about a key by its path.
    pub fn fault_at(&self, path: &str, wrong: Wrong) {
        self.fault(self.locate(path), path, wrong);
    }

    /// Notes a warning about a key by its path.
    pub fn warn_at(&self, path: &str, wrong: Wrong) {
        self.warn(self.locate(path), path, wrong);
    }

    /// The place of the value of `a.b.c`; the place of the nearest table above it when it is not in the file.
    fn locate(&self, path: &str) -> Range<usize> {
        let mut table = Some(self.root);
        let mut span = 0..0;
        for part in path.split('.') {
            let Some((key, value)) = table.and_then(|table| table.get_key_value(part)) else { break };
            table = value.get_ref().as_table();
            span = if table.is_some() { key.span() } else { value.span() };
        }
        span
    }

    /// The keys that were asked for, with `NAME` in place of the names that the file chose.
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }

    /// Whether anything is wrong so far.
    pub fn has_faults(&self) -> bool {
        !self.faults.borrow().is_empty()
    }

    /// Everything found, in the order of the file.
    pub fn into_report(self) -> Report {
        let sorted = |findings: RefCell<Vec<(usize, Finding)>>| {
            let mut findings = findings.into_inner();
            findings.sort_by_key(|(at, _)| *at);
            findings.into_iter().map(|(_, finding)| finding).collect()
        };
        Report::new(sorted(self.faults), sorted(self.warnings))
    }
}

/// Whether a key or line is about secrets. A secret that was written straight into the file must not be repeated on a
/// terminal or in a log, so no excerpt is shown for these.
pub(super) fn may_hold_secret(text: &str) -> bool {
    ["secret", "settings", "token", "password", "credential"].iter().any(|word| text.contains(word))
}

/// How much of the source line a finding shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Excerpt {
    /// Nothing.
    Nothing,
    /// The line up to the end of the place: what is assigned to a key that is not known may be a secret.
    UpToPlace,
    /// All of it.
    Line,
}

/// A finding with its line and column worked out.
pub(super) fn finding(
    file: &Path,
    source: &str,
    span: Range<usize>,
    key: &str,
    wrong: Wrong,
    excerpt: Excerpt,
) -> Finding {
    let start = span.start.min(source.len());
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let column = source[line_start..start].chars().count() + 1;
    let width = source[start..span.end.clamp(start, line_end)].chars().count();
    let shown: String = source[line_start..line_end]
        .trim_end()
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(Finding::MAX_EXCERPT.min(if excerpt == Excerpt::Line {
            usize::MAX
        } else {
            column - 1 + width
        }))
        .collect();
    let width = width.min(Finding::MAX_EXCERPT.saturating_sub(column));
    let visible = excerpt != Excerpt::Nothing && !may_hold_secret(&shown) && column <= Finding::MAX_EXCERPT;
    let clean = |s: &str| text::one_line(s, Finding::MAX_TEXT);
    Finding {
        file: file.to_owned(),
        line: Some(source[..start].matches('\n').count() + 1),
        column: Some(column),
        key: clean(key),
        message: clean(&wrong.message),
        hint: wrong.hint.as_deref().map(clean),
        excerpt: visible.then_some((shown, width)),
    }
}

/// One value with its place.
pub(super) struct Entry<'d> {
    /// The document it stands in.
    pub document: &'d Document<'d>,
    /// The value.
    pub value: &'d DeValue<'d>,
    path: String,
    span: Range<usize>,
}

impl<'d> Entry<'d> {
    /// Notes a fault about this value.
    pub fn fault(&self, wrong: Wrong) {
        self.document.fault(self.span.clone(), &self.path, wrong);
    }

    /// Notes a warning about this value.
    pub fn warn(&self, wrong: Wrong) {
        self.document.warn(self.span.clone(), &self.path, wrong);
    }

    /// The parsed value, or `None` with a fault noted.
    pub fn parse<T>(&self, parser: impl Fn(&DeValue<'_>) -> Result<T, Wrong>) -> Option<T> {
        parser(self.value).map_err(|wrong| self.fault(wrong)).ok()
    }

    /// The items of a list; a value that is not a list counts as a fault and yields none.
    pub fn items(&self) -> Vec<Entry<'d>> {
        let Some(array) = self.value.as_array() else {
            self.fault(Wrong::hinted(
                format!("expected a list, found {}", kind_of(self.value)),
                "put the value in brackets: [...]",
            ));
            return Vec::new();
        };
        array
            .iter()
            .map(|item| Entry {
                document: self.document,
                value: item.get_ref(),
                path: self.path.clone(),
                span: item.span(),
            })
            .collect()
    }
}

/// One table, read key by key.
pub(super) struct Section<'d> {
    document: &'d Document<'d>,
    path: String,
    generic: String,
    table: Option<&'d DeTable<'d>>,
    span: Range<usize>,
    asked: RefCell<BTreeSet<String>>,
}

impl<'d> Section<'d> {
    /// The document it stands in.
    pub fn document(&self) -> &'d Document<'d> {
        self.document
    }

    /// All keys that are there, for tables whose keys are the user's own.
    pub fn entries(&self) -> Vec<(&'d str, Range<usize>, Entry<'d>)> {
        let table = self.table.into_iter().flat_map(|table| table.iter());
        table
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), self.make_entry(key.get_ref(), value)))
            .collect()
    }

    fn make_entry(&self, key: &str, value: &'d Spanned<DeValue<'d>>) -> Entry<'d> {
        let path = join(&self.path, key);
        Entry { document: self.document, value: value.get_ref(), path, span: value.span() }
    }

    fn ask(&self, key: &str) {
        self.asked.borrow_mut().insert(key.to_owned());
        self.document.asked.borrow_mut().insert(join(&self.generic, key));
    }

    /// The value of a key, if it is there.
    pub fn entry(&self, key: &str) -> Option<Entry<'d>> {
        self.ask(key);
        self.table?.get(key).map(|value| self.make_entry(key, value))
    }

    /// The parsed value of a key; `None` when it is absent or wrong, the latter with a fault noted.
    pub fn optional<T>(&self, key: &str, parser: impl Fn(&DeValue<'_>) -> Result<T, Wrong>) -> Option<T> {
        self.entry(key)?.parse(parser)
    }

    /// The parsed value of a key, or its default.
    pub fn or<T>(&self, key: &str, parser: impl Fn(&DeValue<'_>) -> Result<T, Wrong>, default: T) -> T {
        self.optional(key, parser).unwrap_or(default)
    }

    /// The parsed value of a key that must be there.
    pub fn required<T>(
        &self,
        key: &str,
        parser: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
        hint: &str,
    ) -> Option<T> {
        let entry = self.entry(key);
        if entry.is_none() {
            self.fault(Wrong::hinted(format!("the key `{key}` is missing"), hint));
        }
        entry?.parse(parser)
    }

    /// The items of a list, each parsed on its own; `None` when the key is absent.
    pub fn list<T>(&self, key: &str, parser: impl Fn(&DeValue<'_>) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let entry = self.entry(key)?;
        Some(entry.items().iter().filter_map(|item| item.parse(&parser)).collect())
    }

    /// As [`Self::list`], for a list that must be there and not be empty.
    pub fn required_list<T>(
        &self,
        key: &str,
        parser: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
        hint: &str,
    ) -> Vec<T> {
        let Some(entry) = self.entry(key) else {
            self.fault(Wrong::hinted(format!("the key `{key}` is missing"), hint));
            return Vec::new();
        };
        if entry.value.as_array().is_some_and(|array| array.is_empty()) {
            entry.fault(Wrong::hinted("the list is empty", hint));
        }
        entry.items().iter().filter_map(|item| item.parse(&parser)).collect()
    }

    /// A table within this one; an absent one is read as empty.
    pub fn table(&self, key: &str) -> Section<'d> {
        self.ask(key);
        let found = self.table.and_then(|table| table.get_key_value(key));
        let (path, generic) = (join(&self.path, key), join(&self.generic, key));
        let Some((name, value)) = found else {
            return self.document.section(path, generic, None, self.span.clone());
        };
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.make_entry(key, value).fault(Wrong::kind("a table", value.get_ref()));
        }
        self.document.section(path, generic, table, name.span())
    }

    /// The tables within a table whose keys are names chosen by the user, in the order of the names.
    pub fn named(&self, key: &str) -> Vec<(&'d str, Section<'d>)> {
        let outer = self.table(key);
        let generic = join(&outer.generic, "NAME");
        let mut inner = Vec::new();
        for (name, span, entry) in outer.entries() {
            let Some(table) = entry.value.as_table() else {
                let hint = format!("write [{key}.NAME] above its keys");
                entry.fault(Wrong { hint: Some(hint), ..Wrong::kind("a table", entry.value) });
                continue;
            };
            inner.push((
                name,
                self.document.section(join(&outer.path, name), generic.clone(), Some(table), span),
            ));
        }
        inner
    }

    /// The tables of a list of tables, `[[key]]`.
    pub fn tables(&self, key: &str) -> Vec<Section<'d>> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let mut inner = Vec::new();
        for item in entry.items() {
            let Some(table) = item.value.as_table() else {
                item.fault(Wrong::hinted(
                    format!("expected a table, found {}", kind_of(item.value)),
                    format!("write [[{key}]] above its keys"),
                ));
                continue;
            };
            let span = table.keys().next().map_or(item.span.clone(), Spanned::span);
            let (path, generic) = (item.path.clone(), join(&self.generic, key));
            inner.push(self.document.section(path, generic, Some(table), span));
        }
        inner
    }

    /// Notes a fault about the table as a whole.
    pub fn fault(&self, wrong: Wrong) {
        self.document.fault(self.span.clone(), &self.path, wrong);
    }

    /// Notes a warning about the table as a whole.
    pub fn warn(&self, wrong: Wrong) {
        self.document.warn(self.span.clone(), &self.path, wrong);
    }

    /// Ends the reading: whatever was not asked for is not known.
    pub fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, span, _) in self.entries() {
            if !asked.contains(key) {
                let known = || asked.iter().map(String::as_str);
                let list = known().collect::<Vec<_>>().join(", ");
                let hint = match nearest(key, known()) {
                    Some(near) => format!("did you mean `{near}`? Known keys are {list}"),
                    None => format!("known keys are {list}"),
                };
                let what = if self.path.is_empty() { "this table" } else { "this key" };
                let path = join(&self.path, key);
                self.document.fault_unknown(span, &path, Wrong::hinted(format!("{what} is not known"), hint));
            }
        }
    }
}

/// `a.b`, or `b` at the top.
fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
