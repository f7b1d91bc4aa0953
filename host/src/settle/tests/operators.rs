//! Operators: remove, suspend, resume, retry.

use super::*;

fn mixed() -> World {
    let mut world = World::of(4);
    world.report(vec![delivered(), accepted(&["r1", "r2"]), deferred(), deferred()]);
    world
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
fn released_poison_is_due_with_a_clean_slate_where_it_is_or_where_it_is_sent() {
    for to in [None, Some(NextHop::new("other", "FAX:*"))] {
        let mut world = World::of(2);
        for _ in 0..POISON_AFTER {
            world.attempt(&trap());
        }
        let before = world.item.clone();
        world.wait(HOUR);
        let settlement = world.release(to.clone());
        assert_eq!(
            (world.item.state, world.item.traps, world.item.next_attempt),
            (ItemState::Active, 0, world.now)
        );
        assert_eq!(world.item.next_hop, to.clone().unwrap_or_else(|| before.next_hop.clone()));
        assert_eq!((&world.item.recipients, world.item.attempts), (&before.recipients, before.attempts));
        assert_eq!(
            (told_of(&settlement, EventKind::Operate), settlement.write.fates.0.len()),
            (vec![0, 1], 0)
        );
        let event = &settlement.write.events[0];
        assert_eq!(event.connector, *world.item.next_hop.connector);
        let from = to.map(|_| ("from".to_owned(), before.next_hop.to_string()));
        let details: Vec<_> =
            [("operation".to_owned(), "release".to_owned())].into_iter().chain(from).collect();
        assert_eq!(event.details, details);
        // It is poison again only after as many traps as the first time.
        for _ in 1..POISON_AFTER {
            world.attempt(&trap());
            assert_eq!(world.item.state, ItemState::Active);
        }
        world.attempt(&trap());
        assert_eq!(world.item.state, ItemState::Poison);
    }
}
