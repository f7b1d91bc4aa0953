//! Deferrals: they always have a reason, and their time keeps to schedule, wish and expiry.

use postern_model::Refusal;

use super::*;

#[test]
fn a_recipient_without_an_outcome_is_deferred_with_the_reason() {
    let fault = Deferral::new(451, (4, 4, 2), "the call took too long", "timeout");
    let closed = Deferral::new(421, (4, 3, 2), "closed for today", "");
    let failing = Refusal::FailQueue { response: bad(), class: FailureClass::default() };
    let both = DeliveryReport {
        refusal: Some(Refusal::DeferQueue(closed.clone())),
        ..DeliveryReport::broken(fault.clone())
    };
    let refused = |refusal| DeliveryReport { refusal: Some(refusal), ..DeliveryReport::default() };
    let cases = [
        (DeliveryReport::default(), "no outcome"),
        (DeliveryReport::broken(fault), "the call took too long"),
        (trap(), "the agent trapped"),
        (refused(Refusal::DeferQueue(closed)), "closed for today"),
        (refused(failing), "no such number"),
        (both, "the call took too long"),
    ];
    for (report, reason) in cases {
        let mut world = World::of(2);
        let report = DeliveryReport { outcomes: vec![RecipientOutcome::new(0, delivered())], ..report };
        let settlement = world.attempt(&report);
        assert_eq!((world.fate(0), world.queued()), (Some(Fate::Delivered), vec![1]));
        let word = world.last_word(1);
        assert!(word.is_temporary() && word.text.contains(reason), "{word} should say {reason:?}");
        assert_eq!(told_of(&settlement, EventKind::Defer), [1]);
        assert_eq!(world.item.last_error, Some(word.to_string()));
        assert!(settlement.write.dsns.is_empty());
        assert!(world.item.next_attempt > world.now);
    }
}

#[test]
fn an_outcome_whose_code_does_not_fit_is_a_deferral_that_names_both() {
    let half = Response::new(250, (5, 0, 0), "two minds");
    let cases = [
        (Outcome::Delivered(bad()), "delivered"),
        (Outcome::Delivered(half), "delivered"),
        (Outcome::Relayed(later()), "relayed"),
        (Outcome::Expanded(bad()), "expanded"),
        (Outcome::Deferred(Deferral { response: bad(), ..deferral("") }), "deferred"),
        (Outcome::Deferred(Deferral { response: good(), ..deferral("") }), "deferred"),
        (Outcome::Failed { response: later(), class: FailureClass::default() }, "failed"),
        (Outcome::Failed { response: good(), class: FailureClass::default() }, "failed"),
        (
            Outcome::Accepted(Pending {
                receipt_ids: vec!["r1".to_owned()],
                response: bad(),
                expires_after: None,
            }),
            "accepted",
        ),
    ];
    for (outcome, word) in cases {
        let response = outcome.response().to_string();
        let mut world = World::of(1);
        let settlement = world.report(vec![outcome]);
        let last = world.last_word(0);
        assert!(last.is_temporary(), "{last}");
        assert!(last.text.contains(word) && last.text.contains(&response), "{last}");
        assert!(settlement.write.fates.0.is_empty() && settlement.write.dsns.is_empty());
        assert!(settlement.write.receipts.is_empty());
    }
}

#[test]
fn a_deferral_keeps_its_own_reason_when_the_code_of_another_recipient_does_not_fit() {
    let mut world = World::of(2);
    world.report(vec![Outcome::Delivered(bad()), deferred()]);
    assert_eq!(*world.last_word(1), later());
    assert_eq!(world.queued(), [0, 1]);
}

#[test]
fn accepted_without_a_receipt_is_a_deferral() {
    let mut world = World::of(1);
    let settlement = world.report(vec![accepted(&[])]);
    assert!(world.last_word(0).text.contains("receipt"));
    assert!(settlement.write.receipts.is_empty());
}

#[test]
fn a_queue_that_is_to_fail_with_a_code_that_does_not_fit_fails_nobody() {
    let mut world = World::of(1);
    world.policy.allow_fail_queue = true;
    let refusal = Some(Refusal::FailQueue { response: later(), class: FailureClass::default() });
    let settlement = world.attempt(&DeliveryReport { refusal, ..DeliveryReport::default() });
    assert_eq!(world.queued(), [0]);
    assert!(settlement.write.fates.0.is_empty());
}

#[test]
fn attempts_follow_the_schedule_of_their_failure_class() {
    let mut world = World::of(1);
    for expected in [1, 1, 10, 10] {
        let settlement = world.report(vec![deferred()]);
        assert_eq!(world.item.next_attempt, world.now + expected * MINUTE);
        assert_eq!(settlement.next_attempt, Some(world.item.next_attempt));
        world.now = world.item.next_attempt;
    }
    world.report(vec![Outcome::Deferred(deferral("busy"))]);
    assert_eq!(world.item.next_attempt, world.now + 3 * MINUTE);
    assert_eq!(world.item.attempts, 5);
}

#[test]
fn a_wish_of_the_far_end_is_honoured() {
    let mut world = World::of(1);
    let wish = Deferral { retry_after: Some(HOUR), ..deferral("") };
    world.report(vec![Outcome::Deferred(wish)]);
    assert_eq!(world.item.next_attempt, start() + HOUR);
}

#[test]
fn an_item_is_tried_again_when_its_first_recipient_is_due() {
    let mut world = World::of(3);
    let wish = Deferral { retry_after: Some(HOUR), ..deferral("") };
    world.report(vec![Outcome::Deferred(wish), Outcome::Deferred(deferral("busy")), deferred()]);
    assert_eq!(world.item.next_attempt, start() + MINUTE);
    assert_eq!(world.queued(), [0, 1, 2]);
}

#[test]
fn no_retry_is_planned_for_after_the_expiry() {
    let mut world = World::of(1);
    world.wait(EXPIRY - MINUTE);
    let wish = Deferral { retry_after: Some(HOUR), ..deferral("") };
    let settlement = world.report(vec![Outcome::Deferred(wish)]);
    assert_eq!(world.item.next_attempt, start() + EXPIRY);
    assert_eq!(settlement.next_attempt, Some(start() + EXPIRY));
}

#[test]
fn an_attempt_that_ends_after_the_expiry_leaves_an_item_that_is_due_at_once() {
    let mut world = World::of(1);
    world.wait(EXPIRY + MINUTE);
    let settlement = world.report(vec![deferred()]);
    assert!(settlement.next_attempt.unwrap() <= world.now);
    assert_eq!(counted(&world.by_time().unwrap(), Fate::Expired), 1);
}

#[test]
fn an_item_that_must_be_delivered_is_tried_for_ever() {
    let mut world = World::of(1);
    world.message.envelope.must_deliver = true;
    world.item.expires_at = None;
    world.wait(EXPIRY * 1000);
    world.report(vec![deferred()]);
    assert_eq!(world.item.next_attempt, world.now + MINUTE);
}

#[test]
fn deferring_the_queue_gives_it_a_retry_time_that_honours_the_wish() {
    let wish = Deferral { retry_after: Some(HOUR), ..deferral("") };
    let refusal = Some(Refusal::DeferQueue(wish));
    let mut world = World::of(2);
    let settlement = world.attempt(&DeliveryReport { refusal, ..report(vec![delivered()]) });
    let error = later().to_string();
    assert_eq!(settlement.queue, QueueEffect::Retry { until: start() + HOUR, error });
    assert_eq!((world.fate(0), world.queued()), (Some(Fate::Delivered), vec![1]));
    assert!(world.item.next_attempt >= start() + HOUR, "the item is not due before its queue");
}

#[test]
fn a_queue_that_was_refused_before_waits_as_its_own_refusals_say() {
    for (failures, expected) in [(0, 1), (1, 1), (2, 10), (9, 10)] {
        let refusal = Some(Refusal::DeferQueue(deferral("")));
        let mut world = World::of(1);
        let settlement =
            world.attempt_after(&DeliveryReport { refusal, ..DeliveryReport::default() }, failures);
        let QueueEffect::Retry { until, .. } = settlement.queue else { panic!("{:?}", settlement.queue) };
        assert_eq!(until, start() + expected * MINUTE, "after {failures} refusals");
        assert_eq!(world.item.next_attempt, until, "the item waits for its queue");
    }
}

#[test]
fn a_deferred_queue_does_not_plan_its_items_for_after_their_expiry() {
    let mut world = World::of(1);
    world.wait(EXPIRY - MINUTE);
    let refusal = Some(Refusal::DeferQueue(Deferral { retry_after: Some(HOUR), ..deferral("") }));
    world.attempt(&DeliveryReport { refusal, ..DeliveryReport::default() });
    assert_eq!(world.item.next_attempt, start() + EXPIRY);
}

#[test]
fn jitter_moves_a_retry_by_no_more_than_its_part() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut world = World::of(1);
    world.rng = fastrand::Rng::with_seed(seed);
    world.policy.delays = DelayPolicy::default();
    for _ in 0..500 {
        world.item.attempts = 9;
        world.report(vec![deferred()]);
        let wait = world.item.next_attempt.duration_since(world.now);
        assert!((9 * MINUTE..=11 * MINUTE).contains(&wait), "{wait:?}");
    }
}
