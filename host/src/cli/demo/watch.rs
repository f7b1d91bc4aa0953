//! Watch: asks the host for its tracking events as any operator could, and shows the new ones.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use mail_parser::MessageParser;
use postern_model::text;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep};

use super::mail_server::Mail;
use super::screen::{Screen, Tone};
use super::story;
use crate::cli::CliError;
use crate::operate::{Audit, Request, ask};
use crate::tracking::{Query, TrackedEvent};

/// How often the host is asked.
const LOOK: Duration = Duration::from_millis(150);
/// Lines of a report that are shown.
const REPORT_LINES: usize = 13;

/// What a party around the host has to tell.
pub enum Happening {
    /// The pager program took these files.
    Taken(Vec<String>),
    /// The mail server got a mail.
    Mail(Mail),
    /// Something that should not happen.
    Trouble(String),
}

/// What tells one event from another: message, recipient, kind, attempt and time in milliseconds (a day file keeps
/// less of the time than the queue, and an event may come from either).
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key(String, Option<u32>, String, Option<u32>, i64);

impl Key {
    fn of(event: &TrackedEvent) -> Self {
        let (message, kind) = (event.message_id.clone(), event.event.clone());
        Self(message, event.recipient_index, kind, event.attempt, event.time.as_millisecond())
    }
}

/// All that was seen so far.
pub struct Watch {
    data_directory: PathBuf,
    began: Timestamp,
    happenings: UnboundedReceiver<Happening>,
    shown: BTreeSet<Key>,
    /// The numbers of the mails, by the ids that the host gave them.
    numbers: HashMap<String, usize>,
    /// The host's tracking events, oldest first.
    pub events: Vec<TrackedEvent>,
    /// What the mail server got.
    pub mails: Vec<Mail>,
    /// How many files the pager program took.
    pub files_taken: usize,
}

impl Watch {
    /// Watches the host that works on this data directory. Seconds count from `began`.
    pub fn new(data_directory: PathBuf, began: Timestamp, happenings: UnboundedReceiver<Happening>) -> Self {
        Self {
            data_directory,
            began,
            happenings,
            shown: BTreeSet::new(),
            numbers: HashMap::new(),
            events: Vec::new(),
            mails: Vec::new(),
            files_taken: 0,
        }
    }

    /// Seconds since the beginning.
    pub fn seconds(&self, at: Timestamp) -> f64 {
        at.duration_since(self.began).as_secs_f64()
    }

    /// A mail has this number from now on.
    pub fn number(&mut self, message_id: &str, number: usize) {
        self.numbers.insert(message_id.to_owned(), number);
    }

    /// Looks again and again for so long.
    ///
    /// # Errors
    /// When the host does not answer.
    pub async fn look_for(&mut self, span: Duration, screen: &Screen) -> Result<(), CliError> {
        let end = Instant::now() + span;
        loop {
            self.look(screen).await?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(left.min(LOOK)).await;
        }
    }

    /// Looks once, and shows what is new.
    ///
    /// # Errors
    /// When the host does not answer.
    pub async fn look(&mut self, screen: &Screen) -> Result<(), CliError> {
        let answer = self.ask(Request::Track { query: Query::default() }).await?;
        let events: Vec<TrackedEvent> = serde_json::from_value(answer).map_err(CliError::failed)?;
        for event in &events {
            if self.shown.insert(Key::of(event)) {
                self.show(event, screen).await?;
            }
        }
        self.events = events;
        while let Ok(happening) = self.happenings.try_recv() {
            self.hear(happening, screen);
        }
        Ok(())
    }

    /// Has the host recount everything.
    ///
    /// # Errors
    /// When the host does not answer.
    pub async fn audit(&self) -> Result<Audit, CliError> {
        serde_json::from_value(self.ask(Request::Audit).await?).map_err(CliError::failed)
    }

    async fn ask(&self, request: Request) -> Result<Value, CliError> {
        ask(&self.data_directory, request).await.map_err(CliError::failed)
    }

    async fn show(&self, event: &TrackedEvent, screen: &Screen) -> Result<(), CliError> {
        let next_try = if event.event == "defer" { self.next_try(event).await? } else { None };
        let mail = self.numbers.get(&event.message_id).copied();
        if let Some(told) = story::tell(event, mail, next_try) {
            screen.step(self.seconds(event.time), &told.who, told.tone, &told.what, &told.fine_print);
        }
        Ok(())
    }

    /// When the item of an event is tried next, as `postern queue show` tells it.
    async fn next_try(&self, event: &TrackedEvent) -> Result<Option<Timestamp>, CliError> {
        let queues = self.ask(Request::QueueShow { queue: event.connector.clone(), limit: 1000 }).await?;
        let items =
            queues.as_array().into_iter().flatten().filter_map(|queue| queue["items"].as_array()).flatten();
        let own = items.into_iter().find(|item| item["item"].as_str() == event.item.as_deref());
        Ok(own.and_then(|item| item["next_retry"].as_str()?.parse().ok()))
    }

    fn hear(&mut self, happening: Happening, screen: &Screen) {
        match happening {
            Happening::Taken(files) => self.files_taken += files.len(),
            Happening::Trouble(text) => {
                screen.step(self.seconds(Timestamp::now()), "demo", Tone::Bad, "trouble", &[text]);
            }
            Happening::Mail(mail) => {
                if mail.sender.is_empty() {
                    let to = text::one_line(&mail.recipients.join(", "), 100);
                    let what = format!("as {to} reads it:");
                    screen.step(self.seconds(mail.at), "report", Tone::Plain, &what, &[]);
                    screen.quote(&report_text(&mail.content));
                }
                self.mails.push(mail);
            }
        }
    }
}

/// What a report tells people, without blank lines and shortened.
fn report_text(content: &[u8]) -> Vec<String> {
    let message = MessageParser::default().parse(content);
    let body = message.as_ref().and_then(|m| m.body_text(0)).unwrap_or_default();
    let mut lines: Vec<String> =
        body.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    if lines.len() > REPORT_LINES {
        lines.truncate(REPORT_LINES);
        lines.push("[...]".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_shortened_and_has_no_blank_lines() {
        let body: String = (0..30).map(|n| format!("line {n}\r\n\r\n")).collect();
        let lines = report_text(format!("Content-Type: text/plain\r\n\r\n{body}").as_bytes());
        assert_eq!(lines.len(), REPORT_LINES + 1);
        assert_eq!((lines[0].as_str(), lines[REPORT_LINES].as_str()), ("line 0", "[...]"));
    }
}
