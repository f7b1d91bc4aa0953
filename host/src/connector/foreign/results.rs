//! Results: takes in what a gateway says about the files that it took (`success_on = "result"`).
//!
//! A recipient waits for two receipts then: the file's name, which the pickup completes, and the name with [`SUFFIX`],
//! which the result completes. A result that comes before its pickup was seen means the pickup as well, and that goes
//! first: of several good words the last decides.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use postern_drop::{About, Collected, FileName, Found, Interest, Outcome, ResultWord, Results};
use postern_model::{Deferral, FailureClass, Receipt, ReceiptState, Response};

use super::shared::Shared;
use super::{lock, taken};

/// What the id of the receipt for a result has behind the file's name.
pub const SUFFIX: &str = "#result";
/// How often results are looked for while somebody waits for some, unless `poll_interval` says otherwise.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often when nobody does: what comes too late is taken away all the same.
const IDLE_INTERVAL: Duration = Duration::from_secs(30);
/// How soon something is looked at again that was too new to be read.
const AGAIN: Duration = Duration::from_millis(250);

/// The id of the receipt that a file's result completes.
pub(super) fn receipt_id(file: &str) -> String {
    format!("{file}{SUFFIX}")
}

/// The results of one connector, and the thread that looks for them.
pub(super) struct Collector {
    results: Mutex<Results>,
    wake: Mutex<Option<Sender<()>>>,
}

impl Collector {
    pub(super) fn new(settings: &postern_drop::DropSettings) -> Self {
        Self { results: Mutex::new(Results::new(settings)), wake: Mutex::default() }
    }

    /// Something happened that results may follow.
    pub(super) fn wake(&self) {
        if let Some(wake) = &*lock(&self.wake) {
            // Its thread ends with the connector.
            let _ = wake.send(());
        }
    }

    /// What earlier attempts with this file left is no word about the next one.
    pub(super) fn clear(&self, file: &FileName) -> Result<(), postern_drop::DropError> {
        lock(&self.results).clear(file.as_str())
    }

    /// Starts the thread, once.
    pub(super) fn start(&self, shared: &Arc<Shared>) {
        let mut wake = lock(&self.wake);
        if wake.is_some() {
            return;
        }
        let (sender, told) = channel();
        let weak = Arc::downgrade(shared);
        let spawned = thread::Builder::new().name("drop-results".to_owned()).spawn(move || run(&weak, &told));
        match spawned {
            Ok(_) => *wake = Some(sender),
            // The next refresh tries again.
            Err(error) => {
                tracing::error!(connector = %shared.name, %error, "no thread for the results of a gateway")
            }
        }
    }
}

/// Looks for results until the connector is gone.
fn run(shared: &Weak<Shared>, told: &Receiver<()>) {
    let mut swept = false;
    loop {
        let Some(shared) = shared.upgrade() else { return };
        if !swept {
            // What cannot be swept now is tiny and hidden.
            swept = lock(&shared.results.results).sweep().is_ok();
        }
        let pause = shared.look_for_results();
        drop(shared);
        match told.recv_timeout(pause) {
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(()) => told.try_iter().for_each(drop),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

impl Shared {
    /// One look; how long to wait for the next.
    fn look_for_results(&self) -> Duration {
        let looked = lock(&self.results.results).collect(|file| self.interest(file));
        let Collected { found, strange, again } = match looked {
            Ok(collected) => collected,
            Err(error) => {
                tracing::warn!(connector = %self.name, %error, "the results of a gateway cannot be read");
                return IDLE_INTERVAL;
            }
        };
        for (path, why) in strange {
            self.metrics.drop_result(&self.name, "strange");
            lock(&self.activity).count("strange");
            let path = path.display();
            tracing::warn!(connector = %self.name, %path, why, "a result of a gateway is left where it is");
        }
        if !found.is_empty() && !self.settle_results(&found) {
            return IDLE_INTERVAL;
        }
        match (again, lock(&self.files).awaits_results()) {
            (true, _) => AGAIN,
            (false, true) => self.settings.scan_interval.unwrap_or(LOOK_INTERVAL),
            (false, false) => IDLE_INTERVAL,
        }
    }

    fn interest(&self, file: &str) -> Interest {
        match self.names.item_of(file) {
            None => Interest::Stranger,
            Some(_) if lock(&self.files).awaits_result_of(file) => Interest::Waiting,
            Some(item) if (self.is_queued)(item) => Interest::Waiting,
            Some(_) => Interest::Past,
        }
    }

    /// Says whether all went well.
    fn settle_results(&self, found: &[Found]) -> bool {
        let mut receipts = Vec::new();
        for word in found.iter().flat_map(|found| &found.words) {
            let About::File(file) = &word.about else { continue };
            let now = Timestamp::now();
            let (known, settling) = {
                let files = lock(&self.files);
                (files.knows(file), files.is_settling(file))
            };
            if known {
                receipts.push(self.tell_taken(file, now, "result"));
            } else if settling {
                // The watcher has told it by another way, which may be slower. Twice does no harm, too late would.
                receipts.push(taken(file.clone(), now, "result"));
            }
            self.metrics.drop_result(&self.name, word.outcome.as_str());
            lock(&self.activity).count(word.outcome.as_str());
            tracing::info!(
                connector = %self.name, file, outcome = word.outcome.as_str(), text = word.text,
                "the gateway says what became of a file"
            );
            receipts.push(receipt(file, word));
        }
        if !receipts.is_empty() && !(self.settle)(&self.name, receipts) {
            tracing::warn!(connector = %self.name, "results of a gateway could not be kept; they are read again");
            return false;
        }
        // Durable first: what they said is on the disk now, so they may go.
        let mut results = lock(&self.results.results);
        for found in found {
            if let Err(error) = results.consume(found) {
                tracing::warn!(connector = %self.name, %error, "a result of a gateway cannot be taken away");
                return false;
            }
        }
        true
    }
}

/// What a word means to the recipients that wait for it.
fn receipt(file: &str, word: &ResultWord) -> Receipt {
    let said = |otherwise: &str| match word.text.as_str() {
        "" => otherwise.to_owned(),
        text => format!("the gateway said: {text}"),
    };
    let class = word.class.as_deref().unwrap_or_default();
    let state = match word.outcome {
        Outcome::Done => ReceiptState::Delivered(response(word, 250, said("done by the gateway"))),
        Outcome::Sent => ReceiptState::Relayed(response(word, 250, said("sent by the gateway"))),
        Outcome::Failed => ReceiptState::Failed {
            response: response(word, 550, said("the gateway could not send it")),
            class: FailureClass::new(class),
        },
        Outcome::Retry => ReceiptState::Retry(Deferral {
            response: response(word, 451, said("the gateway asks for another attempt")),
            class: FailureClass::new(class),
            retry_after: None,
        }),
        Outcome::Underway => ReceiptState::Pending(response(word, 250, said("the gateway is at work"))),
    };
    let mut details = vec![("file".to_owned(), file.to_owned())];
    details.extend(word.reference.iter().map(|reference| ("reference".to_owned(), reference.clone())));
    details.extend(word.details.iter().cloned());
    Receipt { address: word.recipient.clone(), details, ..Receipt::new(&receipt_id(file), state) }
}

/// The status that the gateway gave counts if it is of the class that its outcome has.
fn response(word: &ResultWord, code: u16, text: String) -> Response {
    let class = u8::try_from(code / 100).expect("a reply code has one digit for its class");
    let given = word.status.as_deref().and_then(status).filter(|status| status.0 == class);
    Response::new(code, given.unwrap_or((class, 0, 0)), &text)
}

fn status(text: &str) -> Option<(u8, u16, u16)> {
    let mut parts = text.trim().splitn(3, '.');
    let status = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (status.1 < 1000 && status.2 < 1000).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_becomes_the_receipt_that_its_recipients_wait_for() {
        let word = ResultWord {
            recipient: Some("+4930".to_owned()),
            class: Some("unallocated".to_owned()),
            status: Some("5.1.1".to_owned()),
            details: vec![("segments".to_owned(), "2".to_owned())],
            ..ResultWord::about_file("x.eml", Outcome::Failed).saying("not in use")
        };
        let made = receipt("x.eml", &word);
        assert_eq!((made.id.as_str(), made.address.as_deref()), ("x.eml#result", Some("+4930")));
        let ReceiptState::Failed { response, class } = &made.state else { panic!("{made:?}") };
        assert_eq!(response.to_string(), "550 5.1.1 the gateway said: not in use");
        assert_eq!(class.as_str(), "unallocated");
        assert_eq!(made.details.last().unwrap().0, "segments");
    }

    #[test]
    fn a_status_of_another_class_or_none_at_all_does_not_count() {
        for strange in ["2.0.0", "5", "5.1", "5.x.1", "5.1000.1", "-5.1.1", ""] {
            let word = ResultWord {
                status: Some(strange.to_owned()),
                ..ResultWord::about_file("x.eml", Outcome::Failed)
            };
            let text = receipt("x.eml", &word).state.response().to_string();
            assert_eq!(text, "550 5.0.0 the gateway could not send it", "{strange}");
        }
    }
}
