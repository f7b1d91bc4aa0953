//! Round: several items at once over one link: a window of submissions, and what becomes of each recipient.

use std::collections::{HashMap, VecDeque};

use postern_agent_sdk::{
    Deferral, Item, Outcome, Pending, Recipient, RecipientOutcome, Refusal, Report, Response, class, host,
};

use crate::answer::{self, Verdict};
use crate::compose;
use crate::link::{Answer, Gone, Link, now_ms};
use crate::pdu::{Message, Pdu, command, message_id};
use crate::receipt::Ids;
use crate::settings::{OnNoAnswer, Settings};

/// What of a call's time must be left to begin another submission, in milliseconds.
const TIME_TO_BEGIN_MS: u32 = 3_000;

/// One recipient on its way.
struct Passenger {
    item: usize,
    recipient: Recipient,
    parts: usize,
    taken: Vec<String>,
    /// What stopped it.
    stopped: Option<Stopped>,
}

enum Stopped {
    Refused(Outcome),
    /// A part was sent, and nobody knows whether it was taken.
    Unknown(String),
    /// Not all parts were sent.
    NotSent(Deferral),
}

/// One submission that is to be sent.
struct Job {
    passenger: usize,
    message: Message,
}

/// A round.
pub struct Round<'a> {
    settings: &'a Settings,
    passengers: Vec<Passenger>,
    jobs: VecDeque<Job>,
    /// The submissions that have no answer: of whom, and until when one is waited for.
    sent: HashMap<u32, (usize, u64)>,
    outcomes: Vec<Vec<RecipientOutcome>>,
    /// Why nothing more is begun.
    hold: Option<Deferral>,
}

impl<'a> Round<'a> {
    /// What is to be done for these items.
    pub fn new(items: &[&Item], settings: &'a Settings) -> Self {
        let mut round = Self {
            settings,
            passengers: Vec::new(),
            jobs: VecDeque::new(),
            sent: HashMap::new(),
            outcomes: items.iter().map(|_| Vec::new()).collect(),
            hold: None,
        };
        for (n, item) in items.iter().enumerate() {
            round.board(n, item);
        }
        round
    }

    fn board(&mut self, n: usize, item: &Item) {
        let recipients = item.recipients();
        let body = match compose::body(item, self.settings) {
            Ok(body) => body,
            Err(outcome) => {
                self.outcomes[n] = Report::all(&recipients, &outcome).outcomes;
                return;
            }
        };
        for recipient in recipients {
            match compose::destination(&recipient, self.settings) {
                Err(why) => {
                    self.outcomes[n].push(RecipientOutcome::new(recipient.index, compose::no_number(why)));
                }
                Ok(number) => {
                    let passenger = self.passengers.len();
                    let messages =
                        compose::messages(&body, &number, &recipient.idempotency_key, self.settings);
                    self.jobs.extend(messages.into_iter().map(|message| Job { passenger, message }));
                    let parts = body.submissions();
                    self.passengers.push(Passenger {
                        item: n,
                        recipient,
                        parts,
                        taken: Vec::new(),
                        stopped: None,
                    });
                }
            }
        }
    }

    /// Whether there is something to send.
    pub fn has_work(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Sends, with as many submissions under way as the window allows, until each has an answer or none is to be expected.
    ///
    /// # Errors
    /// When the session is over. What that means for each recipient is in the reports.
    pub fn run(&mut self, link: &mut Link, ids: &mut Ids) -> Result<(), Gone> {
        self.converse(link, ids).inspect_err(|gone| self.lost(gone))
    }

    fn converse(&mut self, link: &mut Link, ids: &mut Ids) -> Result<(), Gone> {
        loop {
            self.fill(link)?;
            let Some(first) = self.sent.values().map(|(_, until)| *until).min() else { return Ok(()) };
            let left = u32::try_from(first.saturating_sub(now_ms())).unwrap_or(u32::MAX);
            let left = left.min(host::remaining_ms().saturating_sub(1_000));
            if left == 0 {
                return Err(Gone("no answer to a submission in time".to_owned()));
            }
            for answer in link.hear(left, self.settings, ids)? {
                self.answered(answer, ids);
            }
        }
    }

    /// Sends until the window is full.
    fn fill(&mut self, link: &mut Link) -> Result<(), Gone> {
        let mut pdus = Vec::new();
        while self.sent.len() < self.settings.window as usize && self.hold.is_none() {
            let Some(job) = self.jobs.pop_front() else { break };
            // The rest of a message of which a part was refused would be sent for nothing.
            if self.passengers[job.passenger].stopped.is_some() {
                continue;
            }
            if host::remaining_ms() < TIME_TO_BEGIN_MS {
                let text = "there was no time left to send it";
                self.hold = Some(Deferral::new(Response::new(451, (4, 4, 5), text), class::TIMEOUT));
                self.jobs.push_front(job);
                break;
            }
            let sequence = link.next_sequence();
            let until = now_ms() + u64::from(self.settings.response_timeout_seconds) * 1000;
            self.sent.insert(sequence, (job.passenger, until));
            pdus.push(Pdu::new(command::SUBMIT_SM, sequence, job.message.body()));
        }
        if pdus.is_empty() { Ok(()) } else { link.send(&pdus, self.settings) }
    }

    fn answered(&mut self, answer: Answer, ids: &mut Ids) {
        // An answer to nothing of ours, or to what was given up, changes nothing.
        let Some((passenger, _)) = self.sent.remove(&answer.sequence) else { return };
        let passenger = &mut self.passengers[passenger];
        match answer::judge(answer.status, self.settings) {
            Verdict::Taken => {
                let id = message_id(&answer.body);
                passenger.taken.push(if id.is_empty() { id } else { ids.taken(&id) });
            }
            Verdict::Not(outcome) => {
                // A failure is final; of two reasons to try again the first is told.
                let is_failure = matches!(outcome, Outcome::Failed(_));
                if is_failure || passenger.stopped.is_none() {
                    passenger.stopped = Some(Stopped::Refused(outcome));
                }
            }
            Verdict::Hold(deferral) => {
                passenger.stopped.get_or_insert(Stopped::NotSent(deferral.clone()));
                self.hold.get_or_insert(deferral);
            }
        }
    }

    /// The connection is over. What was sent and has no answer may have been taken.
    fn lost(&mut self, gone: &Gone) {
        for (_, (passenger, _)) in std::mem::take(&mut self.sent) {
            let passenger = &mut self.passengers[passenger];
            if !matches!(passenger.stopped, Some(Stopped::Refused(Outcome::Failed(_)))) {
                passenger.stopped = Some(Stopped::Unknown(gone.to_string()));
            }
        }
        let text = format!("the session was lost: {gone}");
        self.hold = Some(Deferral::new(Response::new(451, (4, 4, 2), &text), class::SERVICE_UNAVAILABLE));
    }

    /// Nothing is sent, for this reason.
    pub fn refuse(&mut self, deferral: Deferral) {
        self.hold = Some(deferral);
    }

    /// What became of each item. `refusal` stands for the queue where the round itself has nothing to say about it.
    pub fn reports(mut self, refusal: Option<Refusal>) -> Vec<Report> {
        for passenger in std::mem::take(&mut self.passengers) {
            let item = passenger.item;
            let outcome = self.outcome(passenger);
            self.outcomes[item].push(outcome);
        }
        let refusal = refusal.or_else(|| self.hold.take().map(Refusal::DeferQueue));
        let report = |outcomes| Report { outcomes, receipts: Vec::new(), refusal: refusal.clone() };
        self.outcomes.into_iter().map(report).collect()
    }

    fn outcome(&self, passenger: Passenger) -> RecipientOutcome {
        let Passenger { recipient, parts, taken, stopped, .. } = passenger;
        let is_whole = taken.len() == parts;
        let remote_id = taken.iter().find(|id| !id.is_empty()).cloned();
        let outcome = match stopped {
            Some(Stopped::Refused(outcome)) => outcome,
            Some(Stopped::Unknown(why)) => self.unknown(&recipient, &taken, &why),
            Some(Stopped::NotSent(deferral)) => Outcome::Deferred(deferral),
            None if !is_whole => Outcome::Deferred(self.hold.clone().unwrap_or_else(|| {
                Deferral::new("not every part of the message was sent", class::SERVICE_UNAVAILABLE)
            })),
            None => self.taken(&taken),
        };
        let mut details = vec![("segments".to_owned(), parts.to_string())];
        if !is_whole && !taken.is_empty() {
            details.push(("segments-taken".to_owned(), taken.len().to_string()));
        }
        RecipientOutcome { recipient: recipient.index, outcome, remote_id, details }
    }

    /// The recipient is done when the receipts of all parts have come.
    fn taken(&self, taken: &[String]) -> Outcome {
        let response = Response::new(250, (2, 0, 0), "the message centre has taken it");
        if !self.settings.receipts || taken.iter().any(String::is_empty) {
            return Outcome::relayed(response);
        }
        let mut receipt_ids = taken.to_owned();
        receipt_ids.sort_unstable();
        receipt_ids.dedup();
        Outcome::Accepted(Pending {
            receipt_ids,
            response,
            expires_after: self.settings.receipt_expires_after_seconds,
        })
    }

    /// Nobody knows whether it was taken.
    fn unknown(&self, recipient: &Recipient, taken: &[String], why: &str) -> Outcome {
        let text = format!("the message centre may have taken it: {why}");
        if self.settings.on_no_answer == OnNoAnswer::Retry {
            return Outcome::deferred(Response::new(451, (4, 4, 7), &text), class::TIMEOUT);
        }
        // No receipt can have this id, so it is waited for until the connector's patience is over.
        let mut receipt_ids: Vec<_> = taken.iter().filter(|id| !id.is_empty()).cloned().collect();
        receipt_ids.push(format!("no-answer/{}", recipient.idempotency_key));
        Outcome::Accepted(Pending {
            receipt_ids,
            response: Response::new(250, (2, 0, 0), &text),
            expires_after: self.settings.receipt_expires_after_seconds,
        })
    }
}
