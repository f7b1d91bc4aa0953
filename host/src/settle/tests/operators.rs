//! Operators: remove, suspend, resume, retry, redirect.

use super::*;

fn mixed() -> World {
    let mut world = World::of(4);
    world.report(vec![delivered(), accepted(&["r1", "r2"]), deferred(), deferred()]);
    world
}

fn entries(indices: &[u32]) -> Vec<ItemRecipient> {
    indices.iter().map(|n| ItemRecipient::queued(recipient(*n))).collect()
}

fn hop(name: &str) -> NextHop {
    NextHop::new(name, "FAX:*")
}

#[test]
fn removing_ends_everything_that_is_not_done_and_forgets_its_receipts() {
    let mut world = mixed();
    let settlement = world.remove(false);
    assert!(world.gone);
    assert_eq!((counted(&settlement, Fate::Removed), settlement.write.fates.0.len()), (3, 1));
    assert_eq!(told_of(&settlement, EventKind::Remove), [1, 2, 3]);
    assert_eq!(finished(&settlement), ["r1", "r2"]);
    assert!(settlement.write.dsns.is_empty());
    assert_eq!(settlement.queue, QueueEffect::None);
}

#[test]
fn removing_with_word_to_the_sender_is_a_failure_with_a_dsn() {
    let mut world = mixed();
    let settlement = world.remove(true);
    assert!(world.gone);
    assert_eq!((counted(&settlement, Fate::Failed), settlement.write.fates.0.len()), (3, 1));
    assert_eq!(told_of(&settlement, EventKind::Fail), [1, 2, 3]);
    assert_eq!(notified(&settlement, DsnKind::Failed), [1, 2, 3]);
    assert_eq!(finished(&settlement), ["r1", "r2"]);
}

#[test]
fn a_suspended_item_is_left_alone_until_it_is_resumed() {
    let mut world = mixed();
    let before = world.item.clone();
    let settlement = world.set_state(ItemState::Suspended);
    assert_eq!(world.item.state, ItemState::Suspended);
    assert_eq!(settlement.next_attempt, Some(start() + PATIENCE), "only the receipts are waited for");
    assert_eq!(world.item.recipients, before.recipients);
    assert_eq!(told_of(&settlement, EventKind::Operate), [2, 3]);
    assert!(settlement.write.fates.0.is_empty() && settlement.write.finished_receipts.is_empty());

    world.wait(HOUR);
    let settlement = world.set_state(ItemState::Active);
    assert_eq!((world.item.state, settlement.next_attempt), (ItemState::Active, Some(world.now)));
    assert_eq!(world.item.recipients, before.recipients);
}

#[test]
fn a_suspended_item_takes_its_receipts_and_stays_suspended() {
    let mut world = mixed();
    world.set_state(ItemState::Suspended);
    world.receipt("r1", ReceiptState::Retry(deferral(""))).unwrap();
    assert_eq!((world.queued(), world.item.state), (vec![1, 2, 3], ItemState::Suspended));
}

#[test]
fn retrying_makes_an_item_due_now_and_costs_no_attempt() {
    let mut world = mixed();
    let attempts = world.item.attempts;
    world.wait(SignedDuration::from_secs(5));
    let settlement = world.set_state(ItemState::Active);
    assert_eq!((world.item.next_attempt, world.item.attempts), (world.now, attempts));
    assert_eq!(settlement.next_attempt, Some(world.now));
}

#[test]
fn an_item_that_comes_back_from_poison_has_all_its_traps_again_by_whatever_way() {
    for way in [&[ItemState::Active][..], &[ItemState::Suspended, ItemState::Active]] {
        let mut world = World::of(1);
        for _ in 0..POISON_AFTER {
            world.attempt(&trap());
        }
        assert_eq!(world.item.state, ItemState::Poison);
        for state in way {
            world.set_state(*state);
        }
        for _ in 1..POISON_AFTER {
            world.attempt(&trap());
            assert_eq!(world.item.state, ItemState::Active, "{way:?}");
        }
        world.attempt(&trap());
        assert_eq!(world.item.state, ItemState::Poison);
    }
}

#[test]
fn resuming_a_suspended_item_forgives_no_traps() {
    let mut world = World::of(1);
    world.attempt(&trap());
    world.set_state(ItemState::Suspended);
    world.set_state(ItemState::Active);
    assert_eq!(world.item.traps, 1);
}

#[test]
fn redirecting_moves_the_queued_recipients_and_keeps_the_pending_ones() {
    let mut world = mixed();
    world.attempt(&trap());
    world.set_state(ItemState::Suspended);
    world.wait(HOUR);
    let settlement = world.redirect(&[(hop("a"), 5, entries(&[2])), (hop("b"), 6, entries(&[3]))]);
    assert_eq!((world.pending(), world.queued()), (vec![1], vec![]));
    assert_eq!(world.fate(0), Some(Fate::Delivered));
    assert!(finished(&settlement).is_empty() && settlement.write.fates.0.is_empty());
    assert_eq!(told_of(&settlement, EventKind::Redirect), [2, 3]);
    assert!(settlement.write.dsns.is_empty());
    let expected = [(5, "a", vec![2]), (6, "b", vec![3])];
    assert_eq!(settlement.write.new_items.len(), 2);
    for (item, (ordinal, connector, indices)) in settlement.write.new_items.iter().zip(expected) {
        assert_eq!((item.id.message, item.id.ordinal), (world.item.id.message, ordinal));
        assert_eq!(&*item.next_hop.connector, connector);
        assert_eq!(item.queued().map(|r| r.index).collect::<Vec<_>>(), indices);
        assert_eq!(item.recipients.len(), indices.len());
        assert_eq!((item.state, item.attempts, item.traps), (ItemState::Active, 0, 0));
        assert_eq!((item.settlements, item.last_error.as_deref()), (0, None));
        assert_eq!(item.next_attempt, world.now);
        assert_eq!(item.expires_at, Some(start() + EXPIRY), "a message does not grow younger");
    }
    assert_eq!(counted(&world.receipt("r2", ReceiptState::Delivered(good())).unwrap(), Fate::Delivered), 0);
    assert_eq!(counted(&world.receipt("r1", ReceiptState::Delivered(good())).unwrap(), Fate::Delivered), 1);
}

#[test]
fn an_item_of_which_everything_is_redirected_is_gone_and_nobody_is_counted() {
    let mut world = World::of(2);
    let settlement = world.redirect(&[(hop("a"), 1, entries(&[0, 1]))]);
    assert!(world.gone);
    assert!(settlement.write.fates.0.is_empty());
    assert_eq!(settlement.write.new_items.len(), 1);
}

#[test]
fn recipients_that_no_target_names_stay_where_they_are() {
    let mut world = World::of(3);
    world.redirect(&[(hop("a"), 1, entries(&[1]))]);
    assert_eq!(world.queued(), [0, 2]);
}

#[test]
fn redirecting_never_moves_who_is_pending_done_or_unknown_nor_anybody_twice() {
    let mut world = mixed();
    let before = (world.state(0).clone(), world.state(1).clone());
    let targets =
        [(hop("a"), 5, entries(&[0, 1, 2, 9])), (hop("b"), 6, entries(&[2])), (hop("c"), 7, entries(&[1]))];
    let settlement = world.redirect(&targets);
    assert_eq!((world.state(0), world.state(1)), (&before.0, &before.1));
    assert_eq!(world.queued(), [3]);
    let moved: Vec<_> = settlement
        .write
        .new_items
        .iter()
        .map(|item| (item.id.ordinal, item.queued().map(|r| r.index).collect::<Vec<_>>()))
        .collect();
    assert_eq!(moved, [(5, vec![2])], "and no item without recipients");
    assert_eq!(told_of(&settlement, EventKind::Redirect), [2]);
}

#[test]
fn a_redirected_recipient_goes_to_the_address_that_the_new_route_gave_it() {
    let mut world = World::of(1);
    let mut moved = entries(&[0]);
    moved[0].recipient.address = TypedAddress::parse("SMS:+49170").unwrap();
    let settlement = world.redirect(&[(hop("sms"), 1, moved)]);
    let new_item = &settlement.write.new_items[0];
    assert_eq!(new_item.recipients[0].recipient.address.to_string(), "SMS:+49170");
}

#[test]
fn a_delay_that_was_told_is_not_told_again_after_a_redirect() {
    let mut world = World::of(1);
    world.wait(DELAY);
    world.by_time().unwrap();
    let new_item = world.redirect(&[(hop("a"), 1, entries(&[0]))]).write.new_items.remove(0);
    let mut moved = World { item: new_item, now: start() + DELAY + HOUR, ..World::of(0) };
    assert!(moved.by_time().is_none());
    assert!(moved.report(vec![deferred()]).write.dsns.is_empty());
}
