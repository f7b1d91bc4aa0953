//! Search over the day files and over what has not been moved yet.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use postern_model::TrackingEvent;
use rusqlite::{Row, params_from_iter};
use serde::{Deserialize, Serialize};

use super::day_file::{DayFile, TrackingError};

/// What to look for; all that is set must hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Query {
    /// Our message id, or the text of the Message-ID header field.
    pub message: Option<String>,
    /// A recipient, as shown: `a@b.example` or `FAX:+4930123`, or as it stood in the envelope. `*` stands for any text.
    pub recipient: Option<String>,
    /// The reverse-path. `*` stands for any text.
    pub sender: Option<String>,
    /// The word of an event.
    pub event: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// At most so many, the newest.
    pub limit: usize,
}

/// One event for one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackedEvent {
    /// When.
    pub time: Timestamp,
    /// What, as a word.
    pub event: String,
    /// The message; empty when it is about a queue as a whole.
    pub message_id: String,
    /// The item.
    pub item: Option<String>,
    /// The connector.
    pub connector: String,
    /// The destination.
    pub destination: Option<String>,
    /// The reverse-path.
    pub sender: String,
    /// The recipient's index.
    pub recipient_index: Option<u32>,
    /// The recipient.
    pub recipient: Option<String>,
    /// The recipient as it stood in the envelope, when it was rewritten.
    pub envelope_recipient: Option<String>,
    /// The response.
    pub response: Option<String>,
    /// The Message-ID header field.
    pub internet_message_id: Option<String>,
    /// The subject.
    pub subject: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// The attempt.
    pub attempt: Option<u32>,
    /// Further facts.
    pub details: Vec<(String, String)>,
}

impl TrackedEvent {
    /// The rows of an event: one for each recipient, one for none.
    #[must_use]
    pub fn rows(event: &TrackingEvent) -> Vec<Self> {
        // To the microsecond, as the files keep it: an event that is seen twice while it is moved must look the same.
        let time = Timestamp::from_microsecond(event.time.as_microsecond()).unwrap_or(event.time);
        let row = |index, address, envelope_recipient, response| Self {
            time,
            event: event.kind.word().to_owned(),
            message_id: event.message_text(),
            item: event.item.map(|i| i.to_string()),
            connector: event.connector.clone(),
            destination: event.destination.clone(),
            sender: event.sender.clone(),
            recipient_index: index,
            recipient: address,
            envelope_recipient,
            response,
            internet_message_id: event.internet_message_id.clone(),
            subject: event.subject.clone(),
            size: event.size,
            attempt: event.attempt,
            details: event.details.clone(),
        };
        if event.recipients.is_empty() {
            return vec![row(None, None, None, None)];
        }
        event
            .recipients
            .iter()
            .map(|r| {
                row(Some(r.index), Some(r.address.clone()), r.envelope_address.clone(), r.response.clone())
            })
            .collect()
    }
}

/// Events that answer the query, oldest first. `unmoved` are those still in the queue's table.
///
/// # Errors
/// When a day file cannot be read.
pub fn search(
    folder: &Path,
    unmoved: &[TrackingEvent],
    query: &Query,
) -> Result<Vec<TrackedEvent>, TrackingError> {
    let mut found: Vec<TrackedEvent> =
        unmoved.iter().flat_map(TrackedEvent::rows).filter(|e| matches(query, e)).collect();
    let (sql, values) = statement(query);
    for (day, path) in DayFile::list(folder)?.into_iter().rev() {
        if found.len() >= query.limit && query.limit > 0 {
            break;
        }
        let bound = |t: Option<Timestamp>| t.map(|t| t.to_zoned(TimeZone::UTC).date());
        if bound(query.since).is_some_and(|d| day < d) || bound(query.until).is_some_and(|d| day > d) {
            continue;
        }
        let Some(file) = DayFile::open_read_only(&path)? else { continue };
        let rows = file
            .connection()
            .prepare(&sql)
            .and_then(|mut s| {
                s.query_map(params_from_iter(values.iter()), read)?.collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(|e| file.fault(e))?;
        found.extend(rows);
    }
    // An event may be seen twice while it is being moved.
    found.sort_by(|a, b| {
        (a.time, &a.message_id, &a.recipient_index).cmp(&(b.time, &b.message_id, &b.recipient_index))
    });
    found.dedup();
    if query.limit > 0 && found.len() > query.limit {
        found.drain(..found.len() - query.limit);
    }
    Ok(found)
}

fn statement(query: &Query) -> (String, Vec<rusqlite::types::Value>) {
    use rusqlite::types::Value;
    let mut conditions: Vec<String> = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut and = |condition: &str, value: Value| {
        values.push(value);
        conditions.push(condition.replace('?', &format!("?{}", values.len())));
    };
    if let Some(message) = &query.message {
        and("(message_id = ? OR internet_message_id = ?)", Value::Text(message.clone()));
    }
    if let Some(recipient) = &query.recipient {
        let both = ["recipient", "envelope_recipient"];
        text_condition(&mut and, &both, recipient);
    }
    if let Some(sender) = &query.sender {
        text_condition(&mut and, &["sender"], sender);
    }
    if let Some(event) = &query.event {
        and("event = ?", Value::Text(event.to_ascii_lowercase()));
    }
    if let Some(since) = query.since {
        and("time >= ?", Value::Integer(since.as_microsecond()));
    }
    if let Some(until) = query.until {
        and("time <= ?", Value::Integer(until.as_microsecond()));
    }
    let filter =
        if conditions.is_empty() { String::new() } else { format!("WHERE {}", conditions.join(" AND ")) };
    let limit = if query.limit == 0 { String::new() } else { format!("LIMIT {}", query.limit) };
    let sql = format!(
        "SELECT time, event, message_id, item, connector, destination, sender, recipient_index, recipient, envelope_recipient, response, \
         internet_message_id, subject, size, attempt, details FROM events {filter} ORDER BY time DESC, seq DESC {limit}"
    );
    (sql, values)
}

/// One of the columns holds the text, or fits the pattern. The value is bound once, whatever the number of columns.
fn text_condition(and: &mut impl FnMut(&str, rusqlite::types::Value), columns: &[&str], pattern: &str) {
    use rusqlite::types::Value;
    let (operator, value) = if pattern.contains('*') {
        // GLOB knows [ and ? as well: they are taken as they stand.
        ("GLOB", pattern.replace('[', "[[]").replace('?', "[?]"))
    } else {
        ("=", pattern.to_owned())
    };
    let any: Vec<String> = columns.iter().map(|column| format!("{column} {operator} ?")).collect();
    and(&format!("({})", any.join(" OR ")), Value::Text(value));
}

fn read(row: &Row<'_>) -> rusqlite::Result<TrackedEvent> {
    let details: Option<String> = row.get(15)?;
    Ok(TrackedEvent {
        time: Timestamp::from_microsecond(row.get(0)?).unwrap_or(Timestamp::UNIX_EPOCH),
        event: row.get(1)?,
        message_id: row.get(2)?,
        item: row.get(3)?,
        connector: row.get(4)?,
        destination: row.get(5)?,
        sender: row.get(6)?,
        recipient_index: row.get(7)?,
        recipient: row.get(8)?,
        envelope_recipient: row.get(9)?,
        response: row.get(10)?,
        internet_message_id: row.get(11)?,
        subject: row.get(12)?,
        size: row.get::<_, Option<i64>>(13)?.map(|s| u64::try_from(s).unwrap_or(0)),
        attempt: row.get(14)?,
        details: details.and_then(|d| serde_json::from_str(&d).ok()).unwrap_or_default(),
    })
}

fn matches(query: &Query, event: &TrackedEvent) -> bool {
    let text = |pattern: &Option<String>, value: Option<&str>| {
        pattern.as_ref().is_none_or(|p| value.is_some_and(|v| wildcard(p, v)))
    };
    let message = query
        .message
        .as_ref()
        .is_none_or(|m| event.message_id == *m || event.internet_message_id.as_ref().is_some_and(|h| h == m));
    message
        && (text(&query.recipient, event.recipient.as_deref())
            || text(&query.recipient, event.envelope_recipient.as_deref()))
        && text(&query.sender, Some(&event.sender))
        && query.event.as_ref().is_none_or(|e| event.event.eq_ignore_ascii_case(e))
        && query.since.is_none_or(|t| event.time >= t)
        && query.until.is_none_or(|t| event.time <= t)
}

/// Whether `text` matches a pattern in which `*` stands for any text.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_model::{EventKind, EventRecipient, MessageId};

    fn event(second: i64, kind: EventKind, recipients: &[&str]) -> TrackingEvent {
        TrackingEvent {
            time: Timestamp::new(second, 123_456_789).unwrap(),
            kind,
            message: MessageId::from_name("m"),
            item: None,
            connector: "fax".into(),
            destination: Some("FAX:*".into()),
            sender: "jo@a.example".into(),
            recipients: recipients.iter().zip(0..).map(|(a, index)| EventRecipient::new(index, a)).collect(),
            internet_message_id: Some("<1@a.example>".into()),
            subject: None,
            size: Some(5),
            attempt: None,
            details: vec![("pages".into(), "2".into())],
        }
    }

    #[test]
    fn files_and_unmoved_events_answer_alike() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (
            event(86_400, EventKind::Receive, &["FAX:+49", "b@c.example"]),
            event(200_000, EventKind::Defer, &["FAX:+49"]),
        );
        for (seq, e) in [(1, &first), (2, &second)] {
            DayFile::open(&folder.path().join(DayFile::name_for(e.time)))
                .unwrap()
                .append(&[(seq, e)])
                .unwrap();
        }
        for query in [
            Query { recipient: Some("FAX:+4*".into()), ..Query::default() },
            Query { message: Some("<1@a.example>".into()), event: Some("DEFER".into()), ..Query::default() },
            Query { sender: Some("*@a.example".into()), until: Some(first.time), ..Query::default() },
            Query { recipient: Some("b@c.example".into()), limit: 1, ..Query::default() },
        ] {
            let filed = search(folder.path(), &[], &query).unwrap();
            let unmoved =
                search(&folder.path().join("none"), &[first.clone(), second.clone()], &query).unwrap();
            assert!(!filed.is_empty());
            assert_eq!(filed, unmoved, "{query:?}");
            assert_eq!(search(folder.path(), &[first.clone(), second.clone()], &query).unwrap(), filed);
        }
    }

    #[test]
    fn a_repeated_move_appends_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1970-01-01.db");
        let e = event(1, EventKind::Deliver, &["FAX:+49"]);
        for _ in 0..2 {
            DayFile::open(&path).unwrap().append(&[(1, &e), (2, &e)]).unwrap();
        }
        let count: i64 = DayFile::open_read_only(&path)
            .unwrap()
            .unwrap()
            .connection()
            .query_row("SELECT count(*) FROM events", [], |r| r.get(0))
            .unwrap();
        assert_eq!(count, 2);
    }

    #[test]
    fn a_search_leaves_no_file_behind() {
        let folder = tempfile::tempdir().unwrap();
        let e = event(86_400, EventKind::Receive, &["FAX:+49"]);
        let path = folder.path().join(DayFile::name_for(e.time));
        DayFile::open(&path).unwrap().append(&[(1, &e)]).unwrap();
        let files = || {
            let entries = std::fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        assert_eq!(files(), std::slice::from_ref(&path));
        assert_eq!(search(folder.path(), &[], &Query::default()).unwrap().len(), 1);
        assert_eq!(files(), [path]);
    }

    #[test]
    fn a_search_beside_a_writer_sees_what_was_written_and_disturbs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let e = event(86_400, EventKind::Receive, &["FAX:+49"]);
        let path = folder.path().join(DayFile::name_for(e.time));
        let mut writer = DayFile::open(&path).unwrap();
        for seq in 1..4_u32 {
            writer.append(&[(u64::from(seq), &e)]).unwrap();
            let reader = DayFile::open_read_only(&path).unwrap().unwrap();
            let count =
                reader.connection().query_row("SELECT count(*) FROM events", [], |r| r.get::<_, u32>(0));
            assert_eq!(count.unwrap(), seq);
            assert!(reader.connection().execute("DELETE FROM events", []).is_err());
        }
    }

    #[test]
    fn stars_match_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "ab", false),
            ("a*b*c", "aXbYc", true),
            ("a", "ab", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} {text}");
        }
    }
}
