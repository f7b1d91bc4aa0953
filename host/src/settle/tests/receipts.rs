//! Receipts: they complete what was accepted, once, and never rewrite what is final.

use super::*;

fn good_word() -> ReceiptState {
    ReceiptState::Delivered(good())
}

fn bad_word() -> ReceiptState {
    ReceiptState::Failed { response: bad(), class: FailureClass::new("no-answer") }
}

/// A recipient that waits for these receipts and one that stays queued, so that the item is not gone.
fn waiting_for(ids: &[&str]) -> World {
    let mut world = World::of(2);
    world.report(vec![accepted(ids), deferred()]);
    world
}

#[test]
fn the_receipt_that_was_waited_for_decides_and_is_finished() {
    let relayed = ReceiptState::Relayed(good());
    for (state, fate, kind) in [
        (good_word(), Fate::Delivered, EventKind::Deliver),
        (relayed, Fate::Relayed, EventKind::Relay),
        (bad_word(), Fate::Failed, EventKind::Fail),
    ] {
        let mut world = waiting_for(&["r1"]);
        world.wait(HOUR);
        let settlement = world.receipt("r1", state).unwrap();
        assert_eq!(world.fate(0), Some(fate));
        assert_eq!((counted(&settlement, fate), told_of(&settlement, kind)), (1, vec![0]));
        assert_eq!(settlement.write.events.len(), 1);
        assert_eq!(finished(&settlement), ["r1"]);
        assert!(settlement.write.receipts.is_empty());
        assert_eq!(settlement.queue, QueueEffect::None);
        let failed = if fate == Fate::Failed { vec![0] } else { vec![] };
        assert_eq!(notified(&settlement, DsnKind::Failed), failed);
    }
}

#[test]
fn what_a_receipt_tells_is_tracked_and_told_to_the_sender() {
    let always = Notify { success: true, failure: true, delay: true };
    let mut world = World::notifying(&[Some(always)]);
    world.report(vec![accepted(&["r1"])]);
    let pages = vec![("pages".to_owned(), "3".to_owned())];
    let receipt = Receipt { details: pages.clone(), ..Receipt::new("r1", good_word()) };
    let settlement =
        super::super::settle_receipt(world.context(), &world.item, &receipt, &mut fastrand::Rng::new())
            .unwrap();
    assert_eq!(settlement.write.events[0].details, pages);
    assert_eq!(settlement.write.dsns[0].recipients[0].details, pages);
}

#[test]
fn the_last_receipt_takes_the_item_away() {
    let mut world = World::of(1);
    world.report(vec![accepted(&["r1"])]);
    let settlement = world.receipt("r1", good_word()).unwrap();
    assert!(world.gone);
    assert_eq!((counted(&settlement, Fate::Delivered), settlement.next_attempt), (1, None));
}

#[test]
fn a_recipient_is_done_when_all_its_receipts_have_come_in_any_order() {
    for order in [["r1", "r2", "r3"], ["r3", "r1", "r2"], ["r2", "r3", "r1"]] {
        let mut world = waiting_for(&["r1", "r2", "r3"]);
        for id in &order[..2] {
            let settlement = world.receipt(id, good_word()).unwrap();
            assert_eq!((finished(&settlement), world.pending()), (vec![*id], vec![0]));
            assert!(settlement.write.fates.0.is_empty() && settlement.write.events.is_empty());
        }
        let settlement = world.receipt(order[2], good_word()).unwrap();
        assert_eq!((finished(&settlement), counted(&settlement, Fate::Delivered)), (vec![order[2]], 1));
    }
}

#[test]
fn some_of_the_receipts_do_not_lengthen_the_wait_for_the_others() {
    let mut world = waiting_for(&["r1", "r2"]);
    world.wait(HOUR);
    world.receipt("r1", good_word()).unwrap();
    world.now = start() + PATIENCE;
    assert_eq!(counted(&world.by_time().unwrap(), Fate::Unknown), 1);
}

#[test]
fn one_bad_word_decides_at_once_and_the_other_receipts_are_forgotten() {
    let mut world = waiting_for(&["r1", "r2", "r3"]);
    world.receipt("r1", good_word()).unwrap();
    let settlement = world.receipt("r2", bad_word()).unwrap();
    assert_eq!(world.fate(0), Some(Fate::Failed));
    assert_eq!(finished(&settlement), ["r2", "r3"]);
    assert!(world.receipt("r3", good_word()).is_none());
}

#[test]
fn a_bad_word_for_one_recipient_does_not_end_the_wait_of_another() {
    let mut world = World::of(2);
    world.report(vec![accepted(&["r1", "r2"]), accepted(&["r2"])]);
    let settlement = world.receipt("r1", bad_word()).unwrap();
    assert_eq!((world.fate(0), world.pending()), (Some(Fate::Failed), vec![1]));
    assert_eq!(finished(&settlement), ["r1"], "the second recipient still waits for r2");
    let settlement = world.receipt("r2", good_word()).unwrap();
    assert_eq!((told_of(&settlement, EventKind::Deliver), finished(&settlement)), (vec![1], vec!["r2"]));
}

#[test]
fn a_receipt_that_several_recipients_wait_for_is_kept_once_and_decides_them_all() {
    let mut world = World::of(3);
    let settlement = world.report(vec![accepted(&["r1"]), accepted(&["r1", "r2"]), accepted(&["r1"])]);
    assert_eq!(awaited(&settlement), [("r1", vec![0, 1, 2]), ("r2", vec![1])]);
    let settlement = world.receipt("r1", good_word()).unwrap();
    assert_eq!(told_of(&settlement, EventKind::Deliver), [0, 2]);
    assert_eq!((world.pending(), finished(&settlement)), (vec![1], vec!["r1"]));
}

#[test]
fn a_receipt_that_a_later_attempt_names_again_stands_for_both_recipients_until_the_later_time() {
    let mut world = World::of(2);
    world.report(vec![accepted(&["r1"]), deferred()]);
    world.wait(HOUR);
    let outcomes = vec![RecipientOutcome::new(1, accepted(&["r1"]))];
    let settlement = world.attempt(&DeliveryReport { outcomes, ..DeliveryReport::default() });
    assert_eq!(awaited(&settlement), [("r1", vec![0, 1])]);
    assert_eq!(settlement.write.receipts[0].expires_at, start() + HOUR + PATIENCE);
    assert!(finished(&settlement).is_empty());
    let settlement = world.receipt("r1", good_word()).unwrap();
    assert_eq!(told_of(&settlement, EventKind::Deliver), [0, 1]);
}

#[test]
fn a_receipt_with_an_address_decides_those_who_have_it_and_the_others_go_on_waiting() {
    let mut world = World::of(3);
    world.report(vec![accepted(&["r1"]); 3]);
    assert!(world.receipt_about("+4930129", "r1", good_word()).is_none(), "nobody has this address");
    let settlement = world.receipt_about("fax: 49 3012-1", "r1", bad_word()).unwrap();
    assert_eq!((world.fate(1), world.pending()), (Some(Fate::Failed), vec![0, 2]));
    assert_eq!(notified(&settlement, DsnKind::Failed), [1]);
    assert_eq!(awaited(&settlement), [("r1", vec![0, 2])], "who is done is no longer named with it");
    assert!(finished(&settlement).is_empty());
    assert_eq!(remembered(&settlement), [("r1", vec![1], Some(ReceiptWord::Failed))]);
    assert!(
        world.receipt_about("+4930121", "r1", good_word()).is_none(),
        "a final outcome is never rewritten"
    );
    let settlement = world.receipt("r1", good_word()).unwrap();
    assert_eq!(told_of(&settlement, EventKind::Deliver), [0, 2]);
    assert_eq!((finished(&settlement), world.gone), (vec!["r1"], true));
}

#[test]
fn the_call_that_several_items_shared_stays_with_those_who_got_the_id_in_it() {
    let mut world = World::of(3);
    let call = "0197-1/1";
    let in_call = |world: &World, indexes: &[u32]| {
        let outcomes = indexes.iter().map(|n| RecipientOutcome::new(*n, accepted(&["r1"]))).collect();
        let report = DeliveryReport { outcomes, ..DeliveryReport::default() };
        let context = Context { call: Some(call), ..world.context() };
        super::super::settle(context, &world.item, &report, "", 0, &mut fastrand::Rng::with_seed(1))
    };
    let settlement = in_call(&world, &[0, 1]);
    assert_eq!(settlement.write.receipts[0].call.as_deref(), Some(call));
    world.keep(settlement);
    let settlement = world.receipt_about("+4930120", "r1", good_word()).unwrap();
    assert_eq!(
        settlement.write.receipts[0].call.as_deref(),
        Some(call),
        "the other still waits as part of it"
    );
    // Another attempt, alone, is told the same id: now nobody knows that it is one job with the others of that call.
    let settlement = world.attempt(&DeliveryReport {
        outcomes: vec![RecipientOutcome::new(2, accepted(&["r1"]))],
        ..DeliveryReport::default()
    });
    assert_eq!(
        (awaited(&settlement), settlement.write.receipts[0].call.as_deref()),
        (vec![("r1", vec![1, 2])], None)
    );
}

#[test]
fn what_is_not_waited_for_any_longer_is_remembered_with_its_word_or_without() {
    let mut world = World::of(2);
    let settlement = world.report(vec![accepted(&["r1", "r2", "r3"]), accepted(&["r2"])]);
    assert!(remembered(&settlement).is_empty());
    let settlement = world.receipt("r1", good_word()).unwrap();
    assert_eq!(remembered(&settlement), [("r1", vec![0], Some(ReceiptWord::Delivered))]);
    let settlement = world.receipt("r3", ReceiptState::Retry(deferral(""))).unwrap();
    assert_eq!(
        remembered(&settlement),
        [("r2", vec![0], None), ("r3", vec![0], Some(ReceiptWord::Retry))],
        "r2 is still waited for by the other"
    );
    world.wait(PATIENCE);
    assert_eq!(remembered(&world.by_time().unwrap()), [("r2", vec![1], None)]);
}

#[test]
fn success_is_told_when_the_receipt_says_so_and_not_before() {
    let always = Notify { success: true, failure: true, delay: true };
    let mut world = World::notifying(&[Some(always)]);
    let settlement = world.report(vec![accepted(&["r1", "r2"])]);
    assert!(settlement.write.dsns.is_empty() && settlement.write.fates.0.is_empty());
    assert!(world.receipt("r1", good_word()).unwrap().write.dsns.is_empty(), "a segment is still on its way");
    assert_eq!(notified(&world.receipt("r2", good_word()).unwrap(), DsnKind::Delivered), [0]);
}

#[test]
fn a_far_end_may_say_how_long_to_wait_up_to_a_limit() {
    for (said, expected) in [(None, PATIENCE), (Some(HOUR), HOUR), (Some(EXPIRY * 100), MOST_PATIENCE)] {
        let mut world = World::of(1);
        let Outcome::Accepted(pending) = accepted(&["r1"]) else { unreachable!() };
        let settlement = world.report(vec![Outcome::Accepted(Pending { expires_after: said, ..pending })]);
        assert_eq!(settlement.write.receipts[0].expires_at, start() + expected);
        world.now = start() + expected - SignedDuration::from_nanos(1);
        assert!(world.by_time().is_none());
        world.now = start() + expected;
        assert_eq!(counted(&world.by_time().unwrap(), Fate::Unknown), 1);
    }
}

#[test]
fn an_id_that_is_named_twice_is_one_receipt() {
    let mut world = World::of(1);
    let settlement = world.report(vec![accepted(&["r1", "r1"])]);
    assert_eq!(awaited(&settlement), [("r1", vec![0])]);
    let settlement = world.receipt("r1", good_word()).unwrap();
    assert_eq!((counted(&settlement, Fate::Delivered), finished(&settlement)), (1, vec!["r1"]));
}

#[test]
fn repeated_contradictory_and_foreign_receipts_change_nothing() {
    let mut world = waiting_for(&["r1"]);
    assert!(world.receipt("r9", bad_word()).is_none(), "nobody waits for it");
    assert!(world.receipt("r1", ReceiptState::Pending(good())).is_none(), "nothing is final yet");
    world.receipt("r1", good_word()).unwrap();
    let before = world.item.clone();
    for state in [good_word(), bad_word(), ReceiptState::Retry(deferral("")), ReceiptState::Relayed(good())] {
        assert!(world.receipt("r1", state).is_none());
    }
    assert_eq!(world.item, before);
}

#[test]
fn a_receipt_after_the_wait_was_over_changes_nothing() {
    let mut world = waiting_for(&["r1"]);
    world.wait(PATIENCE);
    world.by_time().unwrap();
    assert_eq!(world.fate(0), Some(Fate::Unknown));
    assert!(world.receipt("r1", good_word()).is_none());
    assert_eq!(world.fate(0), Some(Fate::Unknown));
}

#[test]
fn a_receipt_says_nothing_about_recipients_that_are_queued_or_done() {
    let mut world = World::of(3);
    world.report(vec![failed(), deferred(), accepted(&["r1"])]);
    let before = (world.state(0).clone(), world.state(1).clone());
    world.receipt("r1", bad_word()).unwrap();
    assert_eq!((world.state(0), world.state(1)), (&before.0, &before.1));
}

#[test]
fn a_receipt_that_asks_for_another_attempt_makes_its_recipient_queued_again() {
    let mut world = World::of(2);
    world.report(vec![accepted(&["r1", "r2"]), accepted(&["r3"])]);
    world.wait(HOUR);
    let settlement = world.receipt("r1", ReceiptState::Retry(deferral("busy"))).unwrap();
    assert_eq!((world.queued(), world.pending()), (vec![0], vec![1]));
    assert_eq!(*world.last_word(0), later());
    assert_eq!(world.item.last_error, Some(later().to_string()));
    assert_eq!(told_of(&settlement, EventKind::Defer), [0]);
    assert_eq!(finished(&settlement), ["r1", "r2"]);
    assert!(settlement.write.fates.0.is_empty() && settlement.write.dsns.is_empty());
    assert_eq!(settlement.next_attempt, Some(world.now + 3 * MINUTE));
    let settlement = world.report(vec![delivered(), failed()]);
    assert_eq!(told_of(&settlement, EventKind::Deliver), [0]);
}

#[test]
fn a_retry_that_a_receipt_asks_for_honours_the_wish_and_the_expiry() {
    let wish = Deferral { retry_after: Some(HOUR), ..deferral("") };
    let mut world = World::of(1);
    world.report(vec![accepted(&["r1"])]);
    world.receipt("r1", ReceiptState::Retry(wish.clone())).unwrap();
    assert_eq!(world.item.next_attempt, start() + HOUR);

    world.report(vec![accepted(&["r2"])]);
    world.now = start() + EXPIRY - MINUTE;
    world.receipt("r2", ReceiptState::Retry(wish)).unwrap();
    assert_eq!(world.item.next_attempt, start() + EXPIRY);
}

#[test]
fn a_retry_that_a_receipt_asks_for_goes_on_in_the_schedule_where_the_attempts_are() {
    let mut world = World::of(1);
    for expected in [1, 1, 10] {
        world.report(vec![accepted(&["r1"])]);
        world.receipt("r1", ReceiptState::Retry(deferral(""))).unwrap();
        assert_eq!(world.item.next_attempt, start() + expected * MINUTE);
    }
}

#[test]
fn a_retry_that_a_receipt_asks_for_does_not_put_off_those_who_are_due_before() {
    let wish = Deferral { retry_after: Some(HOUR), ..deferral("") };
    let mut world = World::of(3);
    world.report(vec![accepted(&["r1"]), accepted(&["r1"]), deferred()]);
    assert_eq!(world.item.next_attempt, start() + MINUTE);
    world.receipt("r1", ReceiptState::Retry(wish)).unwrap();
    assert_eq!((world.queued(), world.item.next_attempt), (vec![0, 1, 2], start() + MINUTE));
}

#[test]
fn a_retry_time_from_before_acceptance_does_not_count_for_a_recipient_that_comes_back() {
    let mut world = World::of(1);
    world.report(vec![deferred()]);
    world.report(vec![accepted(&["r1"])]);
    world.wait(HOUR);
    world.receipt("r1", ReceiptState::Retry(deferral("busy"))).unwrap();
    assert_eq!(world.item.next_attempt, world.now + 3 * MINUTE);
}

#[test]
fn the_state_of_a_receipt_decides_and_a_code_that_does_not_fit_is_shown_behind_one_that_does() {
    let half = Response::new(250, (5, 0, 0), "two minds");
    let cases = [
        (ReceiptState::Delivered(bad()), bad()),
        (ReceiptState::Delivered(half.clone()), half),
        (ReceiptState::Relayed(later()), later()),
        (ReceiptState::Failed { response: good(), class: FailureClass::default() }, good()),
    ];
    for (state, said) in cases {
        let expected = if matches!(state, ReceiptState::Failed { .. }) { 5 } else { 2 };
        let mut world = waiting_for(&["r1"]);
        world.receipt("r1", state).unwrap();
        let RecipientState::Final { response, .. } = world.state(0) else { panic!("{:?}", world.state(0)) };
        assert_eq!((response.code / 100, response.status.0), (expected, u8::try_from(expected).unwrap()));
        assert!(response.text.contains(&said.to_string()), "{response}");
    }
    let mut world = waiting_for(&["r1"]);
    world.receipt("r1", ReceiptState::Retry(Deferral { response: bad(), ..deferral("") })).unwrap();
    assert!(world.last_word(0).is_temporary() && world.last_word(0).text.contains("no such number"));
}
