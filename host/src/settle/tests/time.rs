//! Time: expiry, silence of the far end, and word of a delay.

use super::*;

const ALWAYS: Notify = Notify { success: true, failure: true, delay: true };

#[test]
fn nothing_is_settled_before_something_is_due() {
    let mut world = World::of(2);
    world.report(vec![accepted(&["r1"]), deferred()]);
    world.now = start() + DELAY - SignedDuration::from_nanos(1);
    assert!(world.by_time().is_none());
}

#[test]
fn queued_recipients_expire_at_their_time_with_a_failure_dsn_and_the_others_do_not() {
    let mut world = World::of(4);
    world.report(vec![delivered(), accepted(&["r1"]), deferred(), deferred()]);
    world.item.delay_dsn_at = None;
    if let RecipientState::Pending { expires_at, .. } = &mut world.item.recipients[1].state {
        *expires_at = start() + EXPIRY + HOUR;
    }
    world.now = start() + EXPIRY - SignedDuration::from_nanos(1);
    assert!(world.by_time().is_none());
    world.now = start() + EXPIRY;
    let settlement = world.by_time().unwrap();
    assert_eq!((counted(&settlement, Fate::Expired), settlement.write.fates.0.len()), (2, 1));
    assert_eq!(told_of(&settlement, EventKind::Expire), [2, 3]);
    assert_eq!(notified(&settlement, DsnKind::Failed), [2, 3]);
    assert_eq!((world.fate(0), world.pending()), (Some(Fate::Delivered), vec![1]));
    let response = &settlement.write.dsns[0].recipients[0].response;
    assert!(response.is_permanent() && response.text.contains("line is busy"), "{response}");
    assert!(settlement.write.finished_receipts.is_empty());
}

#[test]
fn an_item_that_was_never_tried_expires_too() {
    let mut world = World::of(1);
    world.wait(EXPIRY);
    let settlement = world.by_time().unwrap();
    assert!(world.gone);
    assert_eq!((counted(&settlement, Fate::Expired), notified(&settlement, DsnKind::Failed)), (1, vec![0]));
    assert!(notified(&settlement, DsnKind::Delayed).is_empty(), "who failed is not also late");
}

#[test]
fn suspending_an_item_does_not_stop_its_clock() {
    let mut world = World::of(1);
    world.set_state(ItemState::Suspended);
    world.wait(EXPIRY);
    assert_eq!(counted(&world.by_time().unwrap(), Fate::Expired), 1);
}

#[test]
fn poison_neither_expires_nor_is_late_until_an_operator_decides_and_then_has_its_whole_time() {
    let mut world = World::of(2);
    world.attempt(&DeliveryReport { outcomes: vec![RecipientOutcome::new(0, accepted(&["r1"]))], ..trap() });
    for _ in 1..POISON_AFTER {
        world.attempt(&trap());
    }
    assert_eq!((world.item.state, world.item.deadline()), (ItemState::Poison, None));
    world.wait(EXPIRY + HOUR);
    let settlement = world.by_time().unwrap();
    assert_eq!(counted(&settlement, Fate::Unknown), 1, "a receipt is waited for no longer than else");
    assert_eq!((world.queued(), notified(&settlement, DsnKind::Delayed)), (vec![1], vec![]));
    assert!(world.by_time().is_none());

    world.set_state(ItemState::Active);
    assert_eq!(world.item.expires_at, Some(world.now + EXPIRY));
    assert_eq!(notified(&world.by_time().unwrap(), DsnKind::Delayed), [1], "late it is");
    world.wait(EXPIRY);
    assert_eq!(counted(&world.by_time().unwrap(), Fate::Expired), 1);
}

#[test]
fn a_recipient_whose_receipts_never_came_is_unknown_and_its_sender_is_told_of_a_failure() {
    let mut world = World::of(3);
    world.report(vec![accepted(&["r1", "r2"]), accepted(&["r3"]), delivered()]);
    world.receipt("r1", ReceiptState::Delivered(good())).unwrap();
    world.wait(PATIENCE);
    let settlement = world.by_time().unwrap();
    assert!(world.gone);
    assert_eq!(counted(&settlement, Fate::Unknown), 2);
    assert_eq!(told_of(&settlement, EventKind::Unknown), [0, 1]);
    assert_eq!(notified(&settlement, DsnKind::Failed), [0, 1]);
    assert_eq!(finished(&settlement), ["r2", "r3"]);
}

#[test]
fn what_is_told_of_silence_is_the_connectors_rule() {
    let wishes = [None, Some(Notify::NEVER), Some(ALWAYS)];
    for (rule, kind, told, class) in [
        (OnReceiptExpiry::FailureDsn, DsnKind::Failed, vec![0, 2], 5),
        (OnReceiptExpiry::DelayDsn, DsnKind::Delayed, vec![0, 2], 4),
        (OnReceiptExpiry::Success, DsnKind::Relayed, vec![2], 2),
    ] {
        let mut world = World::notifying(&wishes);
        world.policy.on_receipt_expiry = rule;
        world.report(vec![accepted(&["r1"]); 3]);
        world.wait(PATIENCE);
        let settlement = world.by_time().unwrap();
        assert_eq!((counted(&settlement, Fate::Unknown), world.gone), (3, true));
        assert_eq!((notified(&settlement, kind), settlement.write.dsns.len()), (told, 1), "{rule:?}");
        let dsn = &settlement.write.dsns[0];
        assert_eq!(dsn.retry_until, None, "it is not tried again");
        for about in &dsn.recipients {
            assert!(about.unconfirmed);
            assert_eq!(
                (about.response.code / 100, about.response.status.0),
                (class, u8::try_from(class).unwrap())
            );
            assert!(about.response.text.contains("never said what became of it"), "{}", about.response);
        }
    }
}

#[test]
fn who_is_late_and_who_is_unknown_share_a_report_and_only_one_of_them_is_tried_again() {
    let mut world = World::of(2);
    world.policy.on_receipt_expiry = OnReceiptExpiry::DelayDsn;
    world.report(vec![accepted(&["r1"]), deferred()]);
    world.item.delay_dsn_at = Some(start() + PATIENCE);
    world.wait(PATIENCE);
    let settlement = world.by_time().unwrap();
    assert_eq!(notified(&settlement, DsnKind::Delayed), [0, 1]);
    let dsn = &settlement.write.dsns[0];
    assert_eq!(dsn.retry_until, world.item.expires_at);
    assert_eq!(dsn.recipients.iter().map(|r| r.unconfirmed).collect::<Vec<_>>(), [true, false]);
}

#[test]
fn silence_about_one_recipient_does_not_end_the_wait_of_another_for_the_same_receipt() {
    let mut world = World::of(2);
    world.report(vec![accepted(&["r1"]), deferred()]);
    world.wait(HOUR);
    let outcomes = vec![RecipientOutcome::new(1, accepted(&["r1"]))];
    world.attempt(&DeliveryReport { outcomes, ..DeliveryReport::default() });
    world.now = start() + PATIENCE;
    let settlement = world.by_time().unwrap();
    assert_eq!((world.fate(0), world.pending()), (Some(Fate::Unknown), vec![1]));
    assert!(finished(&settlement).is_empty(), "the second recipient still waits for r1");
    assert_eq!(counted(&world.receipt("r1", ReceiptState::Delivered(good())).unwrap(), Fate::Delivered), 1);
}

#[test]
fn expiry_and_silence_at_one_time_are_one_settlement_with_one_dsn() {
    let mut world = World::of(2);
    world.report(vec![accepted(&["r1"]), deferred()]);
    world.wait(EXPIRY);
    let settlement = world.by_time().unwrap();
    assert_eq!((counted(&settlement, Fate::Unknown), counted(&settlement, Fate::Expired)), (1, 1));
    assert_eq!(settlement.write.dsns.len(), 1);
    assert_eq!(notified(&settlement, DsnKind::Failed), [0, 1]);
}

#[test]
fn what_must_be_delivered_never_expires() {
    let mut world = World::of(1);
    world.message.envelope.must_deliver = true;
    world.item.expires_at = None;
    world.item.delay_dsn_at = None;
    world.wait(EXPIRY * 1000);
    assert!(world.by_time().is_none());
    world.report(vec![deferred()]);
    world.wait(EXPIRY * 1000);
    assert!(world.by_time().is_none());
    assert_eq!(world.queued(), [0]);
}

#[test]
fn what_is_settled_by_time_is_not_settled_again() {
    for wait in [DELAY, PATIENCE, EXPIRY] {
        let mut world = World::of(3);
        world.report(vec![accepted(&["r1"]), deferred(), deferred()]);
        world.wait(wait);
        world.by_time().unwrap();
        assert!(world.gone || world.by_time().is_none(), "after {wait:?}");
    }
}

#[test]
fn a_delay_is_told_once_and_only_to_those_who_want_to_know() {
    let only_failure = Notify { success: false, failure: true, delay: false };
    let mut world =
        World::notifying(&[None, Some(Notify::NEVER), Some(only_failure), Some(ALWAYS), None, None]);
    world.report(vec![deferred(), deferred(), deferred(), deferred(), delivered(), accepted(&["r1"])]);
    world.wait(DELAY);
    let settlement = world.by_time().unwrap();
    assert_eq!(notified(&settlement, DsnKind::Delayed), [0, 3]);
    assert_eq!(settlement.write.dsns.len(), 1);
    let dsn = &settlement.write.dsns[0];
    assert_eq!((dsn.at, dsn.retry_until), (world.now, Some(start() + EXPIRY)));
    assert_eq!(dsn.recipients[0].response, later());
    assert!(settlement.write.fates.0.is_empty() && settlement.write.events.is_empty());
    assert_eq!(world.queued(), [0, 1, 2, 3]);

    world.wait(HOUR);
    assert!(world.by_time().is_none());
    assert!(world.report(vec![deferred(); 6]).write.dsns.is_empty());
}

#[test]
fn a_delay_that_an_attempt_finds_is_told_by_its_settlement_and_not_again() {
    let mut world = World::of(2);
    world.wait(DELAY);
    let settlement = world.report(vec![failed(), deferred()]);
    assert_eq!(notified(&settlement, DsnKind::Delayed), [1]);
    assert_eq!(notified(&settlement, DsnKind::Failed), [0]);
    assert!(world.by_time().is_none());
    assert!(world.report(vec![deferred(), deferred()]).write.dsns.is_empty());
}

#[test]
fn a_delay_of_an_item_that_was_never_tried_has_a_reason_too() {
    let mut world = World::of(1);
    world.wait(DELAY);
    let settlement = world.by_time().unwrap();
    assert!(settlement.write.dsns[0].recipients[0].response.is_temporary());
}

#[test]
fn nobody_is_told_of_a_delay_while_the_far_end_has_the_message() {
    let mut world = World::of(1);
    world.report(vec![accepted(&["r1"])]);
    world.wait(DELAY);
    assert!(world.by_time().is_none());
    let settlement = world.receipt("r1", ReceiptState::Retry(deferral(""))).unwrap();
    let told_now = notified(&settlement, DsnKind::Delayed);
    let told_then = world.by_time().map_or_else(Vec::new, |s| notified(&s, DsnKind::Delayed));
    assert_eq!([told_now, told_then].concat(), [0], "it is late when it is back in the queue");
}

#[test]
fn a_delay_of_a_message_without_a_reverse_path_is_told_to_nobody_and_does_not_come_up_again() {
    let mut world = World::notifying(&[Some(ALWAYS)]);
    world.message.envelope.reverse_path.clear();
    world.wait(DELAY);
    if let Some(settlement) = world.by_time() {
        assert!(settlement.write.dsns.is_empty());
    }
    assert!(world.by_time().is_none());
}
