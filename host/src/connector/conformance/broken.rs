//! Connectors that break one rule each, so that every rule is known to be able to fail. The far end is a list in memory.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use postern_model::{
    Deferral, DeliveryReport, DeliveryRequest, FailureClass, NextHop, NotOpened, Outcome, Receipt,
    ReceiptState, RecipientOutcome, Refusal, Response,
};

use super::{BoxFuture, Connection, Connector, FarEnd, Fixture, rules};
use crate::connector::ConnectorState;

/// A connector that breaks the rule `CON-<RULE>`; 0: none.
pub(super) struct BrokenSite<const RULE: u8> {
    connector: Arc<dyn Connector>,
    shared: Arc<Shared>,
}

struct Shared {
    far_end: Mutex<FarEnd>,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    arrived: Vec<Vec<u8>>,
    keys: BTreeSet<String>,
    connections: usize,
    /// It will never deliver again.
    is_spoilt: bool,
}

impl Shared {
    fn far_end(&self) -> FarEnd {
        *self.far_end.lock().unwrap()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }
}

impl<const RULE: u8> Fixture for BrokenSite<RULE> {
    async fn start(far_end: FarEnd) -> Option<Self> {
        let shared = Arc::new(Shared { far_end: Mutex::new(far_end), book: Mutex::default() });
        let connector = Arc::new(BrokenConnector::<RULE>(shared.clone()));
        (far_end != FarEnd::Silent).then_some(Self { connector, shared })
    }

    fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    fn arrived(&self) -> Vec<Vec<u8>> {
        self.shared.book().arrived.clone()
    }

    fn distinct(&self) -> Option<usize> {
        Some(self.shared.book().keys.len())
    }

    fn mend(&self) {
        *self.shared.far_end.lock().unwrap() = FarEnd::Live;
    }
}

struct BrokenConnector<const RULE: u8>(Arc<Shared>);

impl<const RULE: u8> Connector for BrokenConnector<RULE> {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn open<'a>(&'a self, _hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, NotOpened>> {
        assert!(RULE != 1, "broken on purpose");
        let opened: Result<Box<dyn Connection>, Refusal> = match self.0.far_end() {
            FarEnd::Dead if RULE == 5 => {
                let response = Response::new(550, (5, 4, 1), "nobody is there");
                Err(Refusal::FailQueue { response, class: FailureClass::default() })
            }
            FarEnd::Dead => Err(Refusal::DeferQueue(Deferral::new(451, (4, 4, 1), "nobody is there", ""))),
            FarEnd::Unusable => Err(Refusal::DeferQueue(Deferral::new(451, (4, 3, 5), "not set up", ""))),
            _ => {
                let mut book = self.0.book();
                book.connections += 1;
                Ok(Box::new(BrokenConnection::<RULE> { shared: self.0.clone(), number: book.connections }))
            }
        };
        Box::pin(async { Ok(opened?) })
    }

    fn poll_receipts<'a>(&'a self, ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
        let state = ReceiptState::Pending(Response::new(250, (2, 0, 0), "waiting"));
        let receipt = Receipt { id: ids[0].clone(), address: None, state, details: Vec::new() };
        Box::pin(async { Ok(if RULE == 14 { vec![receipt] } else { Vec::new() }) })
    }

    fn can_poll(&self) -> bool {
        false
    }

    fn state(&self) -> ConnectorState {
        match self.0.far_end() {
            FarEnd::Unusable if RULE != 10 => ConnectorState::Disabled("not set up".to_owned()),
            _ => ConnectorState::Ready,
        }
    }
}

struct BrokenConnection<const RULE: u8> {
    shared: Arc<Shared>,
    number: usize,
}

/// Spoils the connector when it is dropped.
struct Spoiler<'s>(Option<&'s Shared>);

impl Drop for Spoiler<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.book().is_spoilt = true;
        }
    }
}

impl<const RULE: u8> Connection for BrokenConnection<RULE> {
    fn label(&self) -> &'static str {
        if RULE == 2 { "a far end\nof two lines" } else { "a list in memory" }
    }

    fn deliver<'a>(&'a mut self, request: &'a DeliveryRequest) -> BoxFuture<'a, DeliveryReport> {
        Box::pin(async move {
            let mut spoiler = Spoiler((RULE == 8).then_some(&*self.shared));
            tokio::task::yield_now().await;
            spoiler.0 = None;
            let (refuses, mut book) = (self.shared.far_end() == FarEnd::Refusing, self.shared.book());
            book.is_spoilt |= RULE == 7 && refuses;
            if (refuses && RULE != 6) || book.is_spoilt {
                let response = Response::new(550, (5, 7, 1), "not here");
                return report(request, &Outcome::Failed { response, class: FailureClass::default() });
            }
            let mut content = request.content.read_all().unwrap().to_vec();
            match RULE {
                9 => content.retain(|byte| *byte != 0),
                13 if self.number > 1 => content = book.arrived.last().cloned().unwrap_or_default(),
                _ => {}
            }
            book.arrived.push(content);
            let attempt = if RULE == 11 { request.attempt } else { 0 };
            book.keys.insert(format!("{} {attempt}", request.item.id));
            let code = if RULE == 4 { 550 } else { 250 };
            let mut report = report(request, &Outcome::Delivered(Response::new(code, (2, 0, 0), "kept")));
            if RULE == 3 {
                report.outcomes.pop();
            }
            report
        })
    }

    fn deliver_batch<'a>(
        &'a mut self,
        requests: &'a [DeliveryRequest],
    ) -> BoxFuture<'a, Vec<DeliveryReport>> {
        Box::pin(async move {
            let mut reports = Vec::new();
            for request in requests {
                reports.push(self.deliver(request).await);
            }
            if RULE == 15 {
                reports.reverse();
            }
            reports
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async { assert!(RULE != 12, "broken on purpose") })
    }
}

fn report(request: &DeliveryRequest, outcome: &Outcome) -> DeliveryReport {
    let outcomes = request.recipients().map(|r| RecipientOutcome::new(r.index, outcome.clone()));
    DeliveryReport { outcomes: outcomes.collect(), ..DeliveryReport::default() }
}

macro_rules! fails {
    ($($rule:literal $check:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        #[should_panic]
        async fn $check() {
            rules::$check::<BrokenSite<$rule>>().await;
        })*

        #[test]
        fn every_rule_is_broken_by_one() {
            let broken = [$((format!("CON-{:02}", $rule), stringify!($check))),*];
            let rules = super::RULES.iter().map(|(id, name, _)| ((*id).to_owned(), *name));
            assert_eq!(rules.collect::<Vec<_>>(), broken);
        }
    };
}

fails! {
    1 open_answers
    2 label_is_one_short_line
    3 one_outcome_per_recipient
    4 codes_fit
    5 a_dead_far_end_is_a_deferral
    6 a_refusal_is_no_success
    7 usable_after_a_failed_delivery
    8 usable_after_a_dropped_delivery
    9 content_arrives_byte_for_byte
    10 the_state_tells
    11 a_repeat_is_recognised
    12 close_returns
    13 connections_do_not_mix
    14 a_poll_answers
    15 a_batch_has_one_report_per_item
}
