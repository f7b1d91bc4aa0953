//! Histories: whatever happens to an item, in whatever order, the books balance.
//!
//! A history is a random sequence of attempts, receipts, leaps of time and orders of an operator. Each step is checked
//! against what the rules expect of it ([`expected`]), and its write is entered in books of our own ([`books`]).

mod books;
mod expected;

use std::collections::BTreeSet;

use postern_model::Refusal;

use self::books::Books;
use self::expected::Expected;
use super::*;

/// The most steps of one history.
const MAX_STEPS: u32 = 60;

struct History {
    seed: u64,
    rng: fastrand::Rng,
    message: MessageInfo,
    policy: Policy,
    now: Timestamp,
    books: Books,
    /// What was done, for who looks at a failure.
    steps: Vec<String>,
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("seed {}", self.seed);
            for step in &self.steps {
                println!("  {step}");
            }
        }
    }
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let wishes = [
            None,
            None,
            Some(Notify::NEVER),
            Some(Notify { success: true, failure: true, delay: true }),
            Some(Notify { success: true, failure: false, delay: false }),
            Some(Notify { success: false, failure: true, delay: false }),
        ];
        let notify: Vec<_> = (0..rng.u32(1..=6)).map(|_| *pick(&mut rng, &wishes)).collect();
        let mut world = World::notifying(&notify);
        if rng.u8(..8) == 0 {
            world.message.envelope.reverse_path.clear();
        }
        if rng.u8(..8) == 0 {
            world.message.envelope.must_deliver = true;
            world.item.expires_at = None;
        }
        world.policy.relay_dsn = rng.bool();
        let rules = [OnReceiptExpiry::FailureDsn, OnReceiptExpiry::DelayDsn, OnReceiptExpiry::Success];
        world.policy.on_receipt_expiry = *pick(&mut rng, &rules);
        world.policy.allow_fail_queue = rng.bool();
        world.policy.delays = DelayPolicy::default();
        let books = Books::open(&world.item);
        let World { message, policy, now, .. } = world;
        Self { seed, rng, message, policy, now, books, steps: Vec::new() }
    }

    fn run(&mut self) {
        for _ in 0..self.rng.u32(1..=MAX_STEPS) {
            let Some(item) = self.any_item() else { break };
            match self.rng.u8(..15) {
                0..=5 => self.attempt(&item),
                6..=9 => self.receipt(&item),
                10 | 11 => self.leap(),
                12 | 13 => self.set_state(&item),
                // Removing ends everything, so it is rare.
                _ if self.rng.u8(..6) == 0 => self.remove(&item),
                _ => {}
            }
        }
        self.end();
    }

    /// After the longest wait everything is decided but what must be delivered and what is poison; that the operator
    /// removes.
    fn end(&mut self) {
        self.now += HOUR * 24 * 365;
        self.by_time();
        for item in self.books.items() {
            let stays = item.expires_at.is_none() || item.state == ItemState::Poison;
            assert!(stays, "it has not expired: {item:?}");
            self.remove(&item);
        }
        self.books.close();
    }

    fn any_item(&mut self) -> Option<Item> {
        let items = self.books.items();
        (!items.is_empty()).then(|| pick(&mut self.rng, &items).clone())
    }

    fn step(&mut self, item: &Item, what: &str) {
        self.steps.push(format!("{} item {}: {what}", self.now, item.id.ordinal));
    }

    fn context(&self) -> Context<'_> {
        let (message, policy, now) = (&self.message, &self.policy, self.now);
        Context { message, policy, headers: b"", content: None, now, call: None }
    }

    fn enter(&mut self, before: &Item, settlement: &Settlement, expected: &Expected) {
        let context = Context {
            message: &self.message,
            policy: &self.policy,
            headers: b"",
            content: None,
            now: self.now,
            call: None,
        };
        self.books.enter(context, before, settlement, expected);
    }

    fn attempt(&mut self, item: &Item) {
        if item.state != ItemState::Active || item.queued().next().is_none() {
            return;
        }
        let report = self.any_report(item);
        self.step(item, &format!("{report:?}"));
        let mut rng = self.rng.fork();
        let failures = self.rng.u32(..4);
        let settlement = super::super::settle(self.context(), item, &report, "far", failures, &mut rng);
        let expected = Expected::of_attempt(self.context(), item, &report);
        self.enter(item, &settlement, &expected);
        self.check_queue(&report, &settlement.queue);
    }

    fn check_queue(&self, report: &DeliveryReport, queue: &QueueEffect) {
        match (&report.refusal, queue) {
            (Some(Refusal::DeferQueue(_)), QueueEffect::Retry { until, .. }) => assert!(*until > self.now),
            (Some(Refusal::FailQueue { .. }), QueueEffect::Suspend { .. }) => {
                assert!(!self.policy.allow_fail_queue);
            }
            (Some(Refusal::FailQueue { .. }), QueueEffect::None) => assert!(self.policy.allow_fail_queue),
            (None, QueueEffect::Healthy) => assert!(report.fault.is_none()),
            (None, QueueEffect::Retry { until, .. }) => {
                assert!(report.fault.is_some() && report.broken && report.outcomes.is_empty());
                assert!(!report.trapped && *until > self.now);
            }
            (None, QueueEffect::None) => assert!(report.fault.is_some()),
            (refusal, queue) => panic!("{refusal:?} led to {queue:?}"),
        }
    }

    fn receipt(&mut self, item: &Item) {
        let id = self.any_id(item);
        let state = match self.rng.u8(..8) {
            0 => ReceiptState::Pending(good()),
            1..=3 => ReceiptState::Delivered(self.any_response()),
            4 => ReceiptState::Relayed(self.any_response()),
            5 | 6 => ReceiptState::Failed { response: self.any_response(), class: FailureClass::default() },
            _ => ReceiptState::Retry(self.any_deferral()),
        };
        let receipt = Receipt { address: self.any_address(), ..Receipt::new(&id, state) };
        self.step(item, &format!("{receipt:?}"));
        let mut rng = self.rng.fork();
        let settlement = super::super::settle_receipt(self.context(), item, &receipt, &mut rng);
        let expected = Expected::of_receipt(item, &receipt);
        assert_eq!(settlement.is_some(), expected.is_some(), "whether somebody waits for it");
        if let (Some(settlement), Some(expected)) = (settlement, expected) {
            self.enter(item, &settlement, &expected);
        }
    }

    fn leap(&mut self) {
        let leaps = [SignedDuration::ZERO, MINUTE, HOUR, DELAY, PATIENCE, EXPIRY];
        self.now += *pick(&mut self.rng, &leaps);
        // The clock may have gone on without anybody looking at the items.
        if self.rng.u8(..4) != 0 {
            self.by_time();
        }
    }

    fn by_time(&mut self) {
        for item in self.books.items() {
            self.step(&item, "by time");
            let settlement = super::super::settle_by_time(self.context(), &item, &Whereabouts::Nothing);
            let expected = Expected::of_time(self.context(), &item);
            assert_eq!(settlement.is_some(), expected.is_some(), "whether something is due");
            if let (Some(settlement), Some(expected)) = (settlement, expected) {
                self.enter(&item, &settlement, &expected);
                if let Some(after) = &settlement.write.after {
                    assert!(
                        super::super::settle_by_time(self.context(), after, &Whereabouts::Nothing).is_none(),
                        "due twice"
                    );
                }
            }
        }
    }

    fn remove(&mut self, item: &Item) {
        let tell = self.rng.bool();
        self.step(item, &format!("remove, tell: {tell}"));
        let settlement = super::super::remove(self.context(), item, tell, &Whereabouts::Nothing).unwrap();
        self.enter(item, &settlement, &Expected::of_removal(item, tell));
    }

    fn set_state(&mut self, item: &Item) {
        let states = [ItemState::Active, ItemState::Active, ItemState::Suspended, ItemState::Poison];
        let state = *pick(&mut self.rng, &states);
        self.step(item, &format!("{state:?}"));
        let settlement = super::super::set_state(self.context(), item, state);
        self.enter(item, &settlement, &Expected::of_state(self.context(), item, state));
        if item.queued().next().is_some() {
            let kinds: Vec<_> = settlement.write.events.iter().map(|e| e.kind).collect();
            assert_eq!(kinds, [EventKind::Operate]);
        }
    }

    // ---- what agents say ----

    fn any_report(&mut self, item: &Item) -> DeliveryReport {
        let mut report = DeliveryReport::default();
        for _ in 0..self.rng.u32(..8) {
            let mut outcome = RecipientOutcome::new(self.rng.u32(..7), self.any_outcome(item));
            outcome.reports_itself = self.rng.u8(..4) == 0;
            report.outcomes.push(outcome);
        }
        report.refusal = match self.rng.u8(..12) {
            0 => Some(Refusal::DeferQueue(self.any_deferral())),
            1 => Some(Refusal::FailQueue { response: self.any_response(), class: FailureClass::default() }),
            _ => None,
        };
        match self.rng.u8(..6) {
            0 => report.fault = Some(self.any_deferral()),
            1 => (report.fault, report.trapped) = (Some(self.any_deferral()), true),
            _ => {}
        }
        if self.rng.u8(..8) == 0 {
            report.watched.push(self.any_id(item));
        }
        report
    }

    fn any_outcome(&mut self, item: &Item) -> Outcome {
        match self.rng.u8(..12) {
            0 => Outcome::Delivered(self.any_response()),
            1 => Outcome::Relayed(self.any_response()),
            2 => Outcome::Expanded(self.any_response()),
            3..=6 => {
                let receipt_ids = (0..self.rng.u32(..4)).map(|_| self.any_id(item)).collect();
                let expires_after = self
                    .rng
                    .bool()
                    .then(|| *pick(&mut self.rng, &[-HOUR, MINUTE, HOUR, EXPIRY, EXPIRY * 100]));
                let response = if self.rng.u8(..8) == 0 { bad() } else { good() };
                Outcome::Accepted(Pending { receipt_ids, response, expires_after })
            }
            7 => Outcome::Failed { response: self.any_response(), class: FailureClass::default() },
            _ => Outcome::Deferred(self.any_deferral()),
        }
    }

    /// Receipt ids of one item are few, so that recipients share them and agents use them again.
    fn any_id(&mut self, item: &Item) -> String {
        format!("{}-{}", item.id.ordinal, self.rng.u8(..5))
    }

    /// Mostly none; else that of a recipient as a far end may write it, or of nobody.
    fn any_address(&mut self) -> Option<String> {
        let Recipient { address, .. } = recipient(self.rng.u32(..7));
        match self.rng.u8(..9) {
            0 => Some(address.to_string()),
            1 => Some(address.address().to_owned()),
            2 => Some(address.address().replace('+', " ")),
            _ => None,
        }
    }

    fn any_response(&mut self) -> Response {
        pick(&mut self.rng, &[good(), good(), later(), bad(), bad()]).clone()
    }

    fn any_deferral(&mut self) -> Deferral {
        let retry_after = match self.rng.u8(..4) {
            0 => {
                Some(*pick(&mut self.rng, &[-HOUR, SignedDuration::ZERO, HOUR, EXPIRY, SignedDuration::MAX]))
            }
            _ => None,
        };
        let response = if self.rng.u8(..8) == 0 { self.any_response() } else { later() };
        Deferral { response, class: FailureClass::new("busy"), retry_after }
    }
}

fn pick<'a, T>(rng: &mut fastrand::Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

#[test]
fn the_books_balance_whatever_happens_in_whatever_order() {
    let first = fastrand::u64(..);
    println!("random seeds from {first}");
    for seed in (0..1000).chain((0..1000).map(|n| first.wrapping_add(n))) {
        History::new(seed).run();
    }
}

#[test]
fn the_histories_of_the_fixed_seeds_meet_everything_that_can_happen() {
    let (mut fates, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for seed in 0..1000 {
        let mut history = History::new(seed);
        history.run();
        fates.extend(history.books.fates());
        kinds.extend(history.books.kinds());
    }
    assert_eq!(fates, BTreeSet::from(Fate::ALL));
    let settled = [
        EventKind::Deliver,
        EventKind::Relay,
        EventKind::Expand,
        EventKind::Accept,
        EventKind::Defer,
        EventKind::Fail,
        EventKind::Expire,
        EventKind::Remove,
        EventKind::Unknown,
        EventKind::Poison,
        EventKind::Operate,
    ];
    assert_eq!(kinds, BTreeSet::from(settled));
}
