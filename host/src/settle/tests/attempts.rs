//! Attempts: what the report says of each recipient is what becomes of it.

use postern_model::{EventKind, Refusal};

use super::*;

#[test]
fn each_recipient_gets_the_fate_that_its_own_outcome_names() {
    let mut world = World::of(6);
    let settlement = world.report(vec![
        delivered(),
        Outcome::Relayed(good()),
        Outcome::Expanded(good()),
        accepted(&["r1"]),
        deferred(),
        failed(),
    ]);
    for (index, fate) in [(0, Fate::Delivered), (1, Fate::Relayed), (2, Fate::Expanded), (5, Fate::Failed)] {
        assert_eq!(world.fate(index), Some(fate));
        assert_eq!(counted(&settlement, fate), 1);
    }
    assert_eq!((world.pending(), world.queued()), (vec![3], vec![4]));
    assert_eq!(*world.last_word(4), later());
    let kinds = [
        EventKind::Deliver,
        EventKind::Relay,
        EventKind::Expand,
        EventKind::Accept,
        EventKind::Defer,
        EventKind::Fail,
    ];
    for (index, kind) in (0..).zip(kinds) {
        assert_eq!(told_of(&settlement, kind), [index], "{kind:?}");
    }
    assert_eq!(settlement.write.events.len(), 6);
    assert_eq!(settlement.queue, QueueEffect::Healthy);
}

#[test]
fn a_final_recipient_keeps_the_response_and_the_time_that_decided_it() {
    let mut world = World::of(2);
    world.wait(MINUTE);
    world.report(vec![failed(), deferred()]);
    let expected = RecipientState::Final { fate: Fate::Failed, response: bad(), at: start() + MINUTE };
    assert_eq!(*world.state(0), expected);
}

#[test]
fn an_item_whose_recipients_are_all_done_is_gone() {
    let mut world = World::of(2);
    let settlement = world.report(vec![delivered(), failed()]);
    assert!(settlement.write.after.is_none());
    assert_eq!(settlement.next_attempt, None);
    assert_eq!((counted(&settlement, Fate::Delivered), counted(&settlement, Fate::Failed)), (1, 1));
}

#[test]
fn recipients_that_fared_alike_share_one_event() {
    let mut world = World::of(3);
    let settlement = world.report(vec![delivered(), delivered(), delivered()]);
    assert_eq!(settlement.write.events.len(), 1);
    let event = &settlement.write.events[0];
    assert_eq!(told_of(&settlement, EventKind::Deliver), [0, 1, 2]);
    assert_eq!((event.item, event.attempt), (Some(world.item.id), Some(1)));
    assert_eq!((event.sender.as_str(), event.connector.as_str()), (SENDER, "fax"));
    assert_eq!(event.recipients[1].address, "FAX:+4930121");
    assert_eq!(event.recipients[1].response.as_deref(), Some("250 2.0.0 sent"));
}

#[test]
fn recipients_of_whom_the_far_end_said_different_things_have_events_of_their_own() {
    let mut world = World::of(3);
    let mut report = report(vec![delivered(); 3]);
    for (outcome, pages) in report.outcomes.iter_mut().zip(["3", "4", "3"]) {
        outcome.details = vec![("pages".to_owned(), pages.to_owned())];
    }
    let settlement = world.attempt(&report);
    let whom: Vec<Vec<u32>> =
        settlement.write.events.iter().map(|e| e.recipients.iter().map(|r| r.index).collect()).collect();
    assert_eq!(whom, [vec![0, 2], vec![1]]);
}

#[test]
fn every_event_of_an_attempt_carries_its_number() {
    let mut world = World::of(6);
    world.report(vec![deferred(); 6]);
    let settlement = world.report(vec![
        delivered(),
        Outcome::Relayed(good()),
        Outcome::Expanded(good()),
        accepted(&["r1"]),
        deferred(),
        failed(),
    ]);
    for event in &settlement.write.events {
        assert_eq!(event.attempt, Some(2), "{:?}", event.kind);
    }
}

#[test]
fn what_the_far_end_said_beside_the_response_is_tracked_on_one_line() {
    let mut world = World::of(1);
    let mut report = report(vec![delivered()]);
    report.outcomes[0].remote_id = Some("job\r\n7".to_owned());
    report.outcomes[0].details = vec![("pages".to_owned(), "3\x1b\n".to_owned()); 100];
    let settlement = world.attempt(&report);
    let details = &settlement.write.events[0].details;
    assert!(details.contains(&("remote-id".to_owned(), "job 7".to_owned())));
    assert!(details.contains(&("far-end".to_owned(), "far.example".to_owned())));
    let pages = details.iter().filter(|(name, _)| name == "pages");
    assert!(pages.clone().all(|(_, value)| value == "3"));
    assert_eq!(pages.count(), RecipientOutcome::MAX_DETAILS);
}

#[test]
fn of_two_outcomes_for_one_recipient_the_first_counts() {
    let mut world = World::of(2);
    let mut report = report(vec![delivered()]);
    report.outcomes.push(RecipientOutcome::new(0, failed()));
    report.outcomes.push(RecipientOutcome::new(1, failed()));
    report.outcomes.push(RecipientOutcome::new(1, delivered()));
    let settlement = world.attempt(&report);
    assert_eq!(
        (told_of(&settlement, EventKind::Deliver), told_of(&settlement, EventKind::Fail)),
        (vec![0], vec![1])
    );
    assert_eq!((counted(&settlement, Fate::Delivered), counted(&settlement, Fate::Failed)), (1, 1));
}

#[test]
fn outcomes_change_nothing_for_recipients_that_are_not_queued_or_not_of_this_item() {
    let mut world = World::of(3);
    world.report(vec![failed(), accepted(&["r1"]), deferred()]);
    let (final_before, pending_before) = (world.state(0).clone(), world.state(1).clone());
    let mut report = report(vec![delivered(), failed(), deferred()]);
    report.outcomes.push(RecipientOutcome::new(77, delivered()));
    let settlement = world.attempt(&report);
    assert_eq!((world.state(0), world.state(1)), (&final_before, &pending_before));
    assert!(settlement.write.fates.0.is_empty() && settlement.write.dsns.is_empty());
    assert_eq!(told_of(&settlement, EventKind::Defer), [2]);
    assert_eq!(settlement.write.events.len(), 1);
    assert!(settlement.write.finished_receipts.is_empty());
}

#[test]
fn the_last_error_is_that_of_this_attempt_and_goes_when_all_is_well() {
    let mut world = World::of(2);
    world.report(vec![deferred(), deferred()]);
    assert_eq!(world.item.last_error, Some(later().to_string()));
    world.report(vec![accepted(&["r1"]), accepted(&["r1"])]);
    assert_eq!(world.item.last_error, None);
}

#[test]
fn an_accepted_recipient_waits_for_all_its_receipts_as_long_as_the_far_end_or_the_policy_says() {
    let mut world = World::of(2);
    let own = match accepted(&["r3"]) {
        Outcome::Accepted(pending) => Pending { expires_after: Some(HOUR), ..pending },
        _ => unreachable!(),
    };
    let settlement = world.report(vec![accepted(&["r1", "r2"]), Outcome::Accepted(own)]);
    let until = |index| match world.state(index) {
        RecipientState::Pending { expires_at, .. } => *expires_at,
        other => panic!("{other:?}"),
    };
    assert_eq!((until(0), until(1)), (start() + PATIENCE, start() + HOUR));
    assert_eq!(awaited(&settlement), [("r1", vec![0]), ("r2", vec![0]), ("r3", vec![1])]);
    for receipt in &settlement.write.receipts {
        assert_eq!((receipt.item, receipt.connector.as_str()), (world.item.id, "fax"));
        let expected = if receipt.id == "r3" { HOUR } else { PATIENCE };
        assert_eq!((receipt.at, receipt.expires_at), (start(), start() + expected));
    }
    assert_eq!(settlement.next_attempt, Some(start() + HOUR));
}

#[test]
fn acceptance_is_no_success_yet() {
    let always = Notify { success: true, failure: true, delay: true };
    let mut world = World::notifying(&[Some(always)]);
    let settlement = world.report(vec![accepted(&["r1"])]);
    assert!(settlement.write.fates.0.is_empty() && settlement.write.dsns.is_empty());
    assert_eq!(world.pending(), [0]);
}

#[test]
fn a_watched_receipt_decides_nothing_and_is_kept_until_it_comes() {
    let mut world = World::of(2);
    let outcomes = vec![Outcome::Relayed(good()), Outcome::Relayed(good())];
    let settlement =
        world.attempt(&DeliveryReport { watched: vec!["file.eml".to_owned()], ..report(outcomes) });
    assert!(world.gone);
    let receipts = &settlement.write.receipts;
    assert_eq!(receipts.len(), 1);
    assert_eq!((receipts[0].id.as_str(), receipts[0].decides), ("file.eml", false));
    assert_eq!(receipts[0].recipients.len(), 2);
    assert_eq!(receipts[0].expires_at, Timestamp::MAX);
}

#[test]
fn a_watched_receipt_never_takes_the_place_of_one_that_decides() {
    let mut world = World::of(2);
    world.report(vec![accepted(&["r1"]), deferred()]);
    let watched = vec!["r1".to_owned(), "r2".to_owned()];
    let settlement = world.attempt(&DeliveryReport {
        outcomes: vec![RecipientOutcome::new(1, accepted(&["r2"]))],
        watched,
        ..DeliveryReport::default()
    });
    assert_eq!(awaited(&settlement), [("r2", vec![1])]);
    assert!(settlement.write.receipts.iter().all(|r| r.decides), "{:?}", settlement.write.receipts);
}

#[test]
fn a_trap_lets_reported_outcomes_stand_and_defers_the_rest() {
    let mut world = World::of(3);
    let outcomes = report(vec![delivered(), failed()]).outcomes;
    let settlement = world.attempt(&DeliveryReport { outcomes, ..trap() });
    assert_eq!((world.fate(0), world.fate(1)), (Some(Fate::Delivered), Some(Fate::Failed)));
    assert_eq!(world.last_word(2).text, "the agent trapped");
    assert_eq!((world.item.traps, world.item.attempts), (1, 1));
    assert_eq!(settlement.queue, QueueEffect::None);
}

#[test]
fn a_trap_after_which_nothing_is_left_to_try_is_not_counted() {
    let mut world = World::of(1);
    let outcomes = report(vec![accepted(&["r1"])]).outcomes;
    world.attempt(&DeliveryReport { outcomes, ..trap() });
    assert_eq!((world.item.traps, world.item.state), (0, ItemState::Active));
}

#[test]
fn an_item_goes_to_the_poison_queue_with_its_last_allowed_trap_and_not_before() {
    let mut world = World::of(3);
    world.report(vec![accepted(&["r1"]), deferred(), deferred()]);
    for traps in 1..POISON_AFTER {
        let settlement = world.attempt(&trap());
        assert_eq!((world.item.traps, world.item.state), (traps, ItemState::Active));
        assert!(told_of(&settlement, EventKind::Poison).is_empty());
        assert!(settlement.next_attempt.is_some_and(|at| at < start() + HOUR));
        // An attempt that ends in good order in between forgives nothing.
        world.report(vec![]);
    }
    let settlement = world.attempt(&trap());
    assert_eq!((world.item.traps, world.item.state), (POISON_AFTER, ItemState::Poison));
    assert_eq!(told_of(&settlement, EventKind::Poison), [1, 2]);
    assert_eq!((world.pending(), world.queued()), (vec![0], vec![1, 2]));
    assert!(settlement.write.fates.0.is_empty());
    assert_eq!(settlement.next_attempt, Some(start() + PATIENCE), "only the receipt is waited for");
}

#[test]
fn a_poison_item_still_takes_its_receipts() {
    let mut world = World::of(2);
    world.report(vec![accepted(&["r1"]), deferred()]);
    for _ in 0..POISON_AFTER {
        world.attempt(&trap());
    }
    assert_eq!(world.item.state, ItemState::Poison);
    let settlement = world.receipt("r1", ReceiptState::Delivered(good())).unwrap();
    assert_eq!(counted(&settlement, Fate::Delivered), 1);
    assert_eq!(world.item.state, ItemState::Poison);
}

#[test]
fn failing_the_queue_suspends_it_and_fails_nobody_unless_that_is_allowed() {
    let refusal = || Some(Refusal::FailQueue { response: bad(), class: FailureClass::new("blocked") });
    let mut world = World::of(2);
    let settlement = world.attempt(&DeliveryReport { refusal: refusal(), ..report(vec![delivered()]) });
    let QueueEffect::Suspend { reason } = &settlement.queue else { panic!("{:?}", settlement.queue) };
    assert!(reason.contains(&bad().to_string()), "{reason}");
    assert_eq!((world.fate(0), world.queued()), (Some(Fate::Delivered), vec![1]));
    assert!(world.last_word(1).is_temporary() && world.last_word(1).text.contains("no such number"));
    assert!(settlement.write.dsns.is_empty());

    let mut world = World::of(2);
    world.policy.allow_fail_queue = true;
    let settlement = world.attempt(&DeliveryReport { refusal: refusal(), ..report(vec![delivered()]) });
    assert_eq!(settlement.queue, QueueEffect::None);
    assert!(world.gone);
    assert_eq!(
        (told_of(&settlement, EventKind::Deliver), told_of(&settlement, EventKind::Fail)),
        (vec![0], vec![1])
    );
    assert_eq!(notified(&settlement, DsnKind::Failed), [1]);
}

#[test]
fn a_fault_of_one_attempt_says_nothing_about_the_queue() {
    let over_an_open_connection =
        DeliveryReport { fault: Some(deferral("timeout")), ..DeliveryReport::default() };
    let after_an_outcome = DeliveryReport {
        outcomes: vec![RecipientOutcome::new(0, deferred())],
        ..DeliveryReport::broken(deferral("timeout"))
    };
    for report in [over_an_open_connection, after_an_outcome, trap()] {
        let mut world = World::of(1);
        let settlement = world.attempt(&report);
        assert_eq!(settlement.queue, QueueEffect::None, "{report:?}");
        assert_eq!(world.queued(), [0]);
    }
}

#[test]
fn a_version_on_trial_harms_neither_its_item_nor_its_queue() {
    for report in [trap(), DeliveryReport::broken(deferral("timeout"))] {
        let mut world = World::of(1);
        for _ in 0..=POISON_AFTER {
            let settlement = world.attempt(&DeliveryReport { on_trial: true, ..report.clone() });
            assert_eq!(settlement.queue, QueueEffect::None, "{report:?}");
        }
        assert_eq!((world.item.traps, world.item.state), (0, ItemState::Active));
        assert_eq!(world.queued(), [0], "it is tried again");
    }
}

#[test]
fn a_connection_that_breaks_before_any_outcome_puts_its_queue_into_retry() {
    for (failures, expected) in [(0, 1), (2, 10)] {
        let mut world = World::of(1);
        let settlement = world.attempt_after(&DeliveryReport::broken(deferral("timeout")), failures);
        let until = start() + expected * MINUTE;
        assert_eq!(settlement.queue, QueueEffect::Retry { until, error: later().to_string() });
        assert_eq!((world.queued(), world.item.next_attempt), (vec![0], until));
    }
}

#[test]
fn every_settlement_of_an_item_has_its_own_number() {
    let mut world = World::of(4);
    world.report(vec![accepted(&["r1"]), accepted(&["r2", "r3"]), deferred(), deferred()]);
    assert_eq!(world.item.settlements, 1);
    world.receipt("r1", ReceiptState::Delivered(good())).unwrap();
    world.receipt("r2", ReceiptState::Delivered(good())).unwrap();
    assert_eq!(world.item.settlements, 3);
    world.set_state(ItemState::Suspended);
    world.wait(DELAY);
    world.by_time().unwrap();
    assert_eq!(world.item.settlements, 5);
}
