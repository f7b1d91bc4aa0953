//! The conformance suite: what every backend must do. A check that fails panics and says what it expected.
//!
//! [`run`] goes through all of them; each has a store of its own.

pub mod sample;

mod agent_state;
mod inbound;
mod intents;
mod leases;
mod ledger;
mod puts;
mod queues;
mod receipts;
mod settlements;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use postern_model::{Content, ItemId, NextHop};

use crate::{Counters, Lease, Loaded, Settle, SettleDone, Store, StoreError};

/// A backend under test.
pub trait Subject {
    /// Opens the store called `name`; it is made when it is not there. The suite drops a store before it opens it again.
    ///
    /// # Errors
    /// As the backend.
    fn open(&self, name: &str) -> Result<Arc<dyn Store>, StoreError>;

    /// The folder for incoming contents of the store called `name`.
    fn incoming(&self, name: &str) -> PathBuf;
}

/// Runs every check.
///
/// # Panics
/// When one fails.
pub async fn run(subject: &dyn Subject) {
    puts::a_message_is_there_after_its_commit(subject).await;
    puts::a_refused_message_leaves_nothing(subject).await;
    puts::a_refused_write_does_not_fail_its_neighbours(subject).await;
    puts::a_dsn_request_becomes_one_message(subject).await;
    puts::contents_of_every_size_come_back(subject).await;
    puts::a_file_becomes_the_content(subject).await;
    settlements::an_item_can_change_and_go(subject).await;
    settlements::the_content_goes_with_the_last_item(subject).await;
    settlements::a_part_can_be_redirected(subject).await;
    settlements::a_settlement_of_nothing_is_refused(subject).await;
    settlements::settlements_keep_their_order(subject).await;
    leases::one_item_has_one_lease(subject).await;
    leases::a_dropped_lease_gives_the_item_back(subject).await;
    leases::a_settled_item_is_kept_until_its_commit(subject).await;
    leases::a_record_in_the_middle_keeps_the_lease(subject).await;
    leases::waiting_for_a_lease_ends(subject).await;
    queues::urgent_items_come_first_then_older_ones(subject).await;
    queues::an_item_waits_for_its_time(subject).await;
    queues::a_suspended_queue_survives_a_restart(subject).await;
    queues::a_hop_in_retry_is_left_alone(subject).await;
    queues::overdue_receipts_come_whatever_the_queue(subject).await;
    queues::everything_is_there_after_a_restart(subject).await;
    ledger::counters_equal_a_recount(subject).await;
    ledger::events_keep_their_order_and_numbers(subject).await;
    ledger::the_outbox_keeps_what_is_owed(subject).await;
    ledger::bodies_pass_their_check(subject).await;
    receipts::receipts_are_kept_until_they_come(subject).await;
    receipts::one_id_may_be_waited_for_by_several_items(subject).await;
    receipts::what_is_past_is_remembered_newest_first(subject).await;
    receipts::early_receipts_are_kept_over_a_restart(subject).await;
    receipts::many_that_wait_for_one_id_are_told_up_to_a_limit(subject).await;
    agent_state::agents_have_state_of_their_own(subject).await;
    agent_state::a_change_of_state_is_checked_against_what_was_there_before(subject).await;
    agent_state::state_keeps_to_its_quota(subject).await;
    agent_state::state_and_settlement_are_stored_together_or_not_at_all(subject).await;
    intents::an_intent_is_there_until_its_attempt_has_ended(subject).await;
    intents::there_is_no_intent_without_an_item(subject).await;
    inbound::what_comes_again_from_the_far_side_is_taken_once(subject).await;
    inbound::of_many_that_come_at_once_one_is_taken(subject).await;
    inbound::ids_of_the_far_side_are_forgotten_by_time(subject).await;
}

/// A store and how to close and open it again.
struct Bench<'s> {
    subject: &'s dyn Subject,
    name: &'static str,
    store: Option<Arc<dyn Store>>,
}

impl<'s> Bench<'s> {
    fn new(subject: &'s dyn Subject, name: &'static str) -> Self {
        Self { subject, name, store: Some(subject.open(name).expect("a new store opens")) }
    }

    fn store(&self) -> &dyn Store {
        &**self.store.as_ref().expect("it is open")
    }

    fn reopen(&mut self) {
        let old = self.store.take().expect("it is open");
        assert_eq!(Arc::strong_count(&old), 1, "the suite holds the only reference");
        drop(old);
        self.store = Some(self.subject.open(self.name).expect("a store opens again"));
    }

    fn lease(&self, hop: &NextHop) -> Option<Lease> {
        self.store().index().lease(hop, sample::time(0))
    }

    fn lease_at(&self, hop: &NextHop, now: Timestamp) -> Option<Lease> {
        self.store().index().lease(hop, now)
    }

    async fn load(&self, item: ItemId) -> Option<Loaded> {
        self.store().load(item).await.expect("a healthy store can be read")
    }

    /// Settles any item as it stands.
    async fn settle(&self, settle: Settle) -> Result<SettleDone, StoreError> {
        let lease = self.store().index().lease_item(settle.item).expect("nobody has the item");
        lease.settle(self.store(), settle).await
    }

    async fn counters(&self) -> Counters {
        self.store().counters().await.expect("a healthy store can be read")
    }

    async fn outbox_keys(&self) -> Vec<String> {
        let requests = self.store().outbox(100).await.expect("a healthy store can be read");
        requests.into_iter().map(|request| request.key).collect()
    }
}

fn bytes(content: &Content) -> Vec<u8> {
    content.read_all().expect("the content can be read").to_vec()
}

fn is_invalid<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Invalid(_)))
}
