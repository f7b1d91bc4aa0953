//! DSNs: who is told what, by how many of them, and under which keys.

use std::collections::BTreeSet;

use super::*;
use crate::bad_mail;

const SUCCESS: Notify = Notify { success: true, failure: false, delay: false };
const FAILURE: Notify = Notify { success: false, failure: true, delay: false };
const ALWAYS: Notify = Notify { success: true, failure: true, delay: true };

/// Settles recipients with these wishes alike, and says which of them are told by a DSN of this kind.
fn told(notify: &[Option<Notify>], outcome: Outcome, kind: DsnKind, relay_dsn: bool) -> Vec<u32> {
    let mut world = World::notifying(notify);
    world.policy.relay_dsn = relay_dsn;
    let settlement = world.report(vec![outcome; notify.len()]);
    let told = notified(&settlement, kind);
    assert_eq!(settlement.write.dsns.len(), usize::from(!told.is_empty()), "no DSN of another kind");
    told
}

#[test]
fn senders_hear_what_they_asked_for_and_of_failures_when_they_asked_for_nothing() {
    let wishes = [None, Some(Notify::NEVER), Some(SUCCESS), Some(FAILURE), Some(ALWAYS)];
    assert_eq!(told(&wishes, failed(), DsnKind::Failed, false), [0, 3, 4]);
    assert_eq!(told(&wishes, delivered(), DsnKind::Delivered, false), [2, 4]);
    assert_eq!(told(&wishes, Outcome::Relayed(good()), DsnKind::Relayed, false), [2, 4]);
    assert_eq!(told(&wishes, Outcome::Expanded(good()), DsnKind::Expanded, false), [2, 4]);
    assert!(told(&wishes, deferred(), DsnKind::Delayed, false).is_empty());
    assert!(told(&wishes, accepted(&["r1"]), DsnKind::Delivered, false).is_empty());
}

#[test]
fn expiry_silence_and_removal_with_word_keep_to_the_same_wishes() {
    let wishes = [None, Some(Notify::NEVER), Some(SUCCESS), Some(FAILURE), Some(ALWAYS)];
    let mut world = World::notifying(&wishes);
    world.wait(EXPIRY);
    assert_eq!(notified(&world.by_time().unwrap(), DsnKind::Failed), [0, 3, 4]);

    let mut world = World::notifying(&wishes);
    world.report(vec![accepted(&["r1"]); 5]);
    world.wait(PATIENCE);
    assert_eq!(notified(&world.by_time().unwrap(), DsnKind::Failed), [0, 3, 4]);

    let mut world = World::notifying(&wishes);
    assert_eq!(notified(&world.remove(true), DsnKind::Failed), [0, 3, 4]);
}

#[test]
fn a_connector_may_demand_word_of_relaying_but_not_against_the_sender() {
    let wishes = [None, Some(Notify::NEVER), Some(SUCCESS)];
    assert_eq!(told(&wishes, Outcome::Relayed(good()), DsnKind::Relayed, true), [0, 2]);
    assert_eq!(told(&wishes, delivered(), DsnKind::Delivered, true), [2]);
}

#[test]
fn word_of_relaying_that_a_receipt_brings_keeps_to_the_same_rules() {
    let mut world = World::notifying(&[None, Some(Notify::NEVER)]);
    world.policy.relay_dsn = true;
    world.report(vec![accepted(&["r1"]), accepted(&["r1"])]);
    let settlement = world.receipt("r1", ReceiptState::Relayed(good())).unwrap();
    assert_eq!(notified(&settlement, DsnKind::Relayed), [0]);
}

#[test]
fn a_message_without_a_reverse_path_is_never_answered() {
    let outcomes = [delivered(), Outcome::Relayed(good()), Outcome::Expanded(good()), failed()];
    for outcome in outcomes {
        let mut world = World::notifying(&[Some(ALWAYS), None]);
        world.policy.relay_dsn = true;
        world.message.envelope.reverse_path.clear();
        let settlement = world.report(vec![outcome.clone(), outcome]);
        assert!(settlement.write.dsns.is_empty());
        assert_eq!(settlement.write.fates.0.iter().map(|(_, n)| n).sum::<u32>(), 2);
    }
    let mut world = World::notifying(&[Some(ALWAYS)]);
    world.message.envelope.reverse_path.clear();
    world.wait(EXPIRY);
    assert!(world.by_time().unwrap().write.dsns.is_empty());
}

#[test]
fn a_far_end_that_reports_success_itself_is_not_anticipated_but_failures_are_ours_to_report() {
    let mut world = World::notifying(&[Some(ALWAYS), Some(ALWAYS)]);
    world.policy.relay_dsn = true;
    let mut report = report(vec![Outcome::Relayed(good()), failed()]);
    for outcome in &mut report.outcomes {
        outcome.reports_itself = true;
    }
    let settlement = world.attempt(&report);
    assert!(notified(&settlement, DsnKind::Relayed).is_empty());
    assert_eq!(notified(&settlement, DsnKind::Failed), [1]);
    assert_eq!(counted(&settlement, Fate::Relayed), 1);
}

#[test]
fn an_outcome_that_cannot_be_believed_does_not_spare_the_sender_a_later_dsn() {
    let mut world = World::notifying(&[Some(ALWAYS)]);
    let mut report = report(vec![Outcome::Relayed(bad())]);
    report.outcomes[0].reports_itself = true;
    world.attempt(&report);
    assert_eq!(notified(&world.report(vec![delivered()]), DsnKind::Delivered), [0]);
}

#[test]
fn one_settlement_owes_one_dsn_of_each_kind_that_names_all_its_recipients() {
    let mut world = World::notifying(&[Some(ALWAYS); 7]);
    world.wait(DELAY);
    let settlement = world.report(vec![
        delivered(),
        failed(),
        delivered(),
        Outcome::Failed {
            response: Response::new(554, (5, 6, 0), "no fax machine"),
            class: FailureClass::default(),
        },
        Outcome::Relayed(good()),
        Outcome::Expanded(good()),
        deferred(),
    ]);
    assert_eq!(notified(&settlement, DsnKind::Delivered), [0, 2]);
    assert_eq!(notified(&settlement, DsnKind::Failed), [1, 3]);
    assert_eq!(notified(&settlement, DsnKind::Relayed), [4]);
    assert_eq!(notified(&settlement, DsnKind::Expanded), [5]);
    assert_eq!(notified(&settlement, DsnKind::Delayed), [6]);
    assert_eq!(settlement.write.dsns.len(), 5);
    let failures = settlement.write.dsns.iter().find(|d| d.kind == DsnKind::Failed).unwrap();
    let said: Vec<_> = failures.recipients.iter().map(|r| r.response.text.as_str()).collect();
    assert_eq!(said, ["no such number", "no fax machine"], "each with its own response");
    for dsn in &settlement.write.dsns {
        assert_eq!((dsn.item, dsn.connector.as_str(), dsn.at), (world.item.id, "fax", world.now));
        assert_eq!(dsn.message, world.message);
        assert_eq!(dsn.headers, b"Subject: fax\r\n");
        assert_eq!(dsn.retry_until.is_some(), dsn.kind == DsnKind::Delayed);
    }
}

#[test]
fn a_dsn_tells_what_the_far_end_said() {
    let mut world = World::notifying(&[Some(ALWAYS)]);
    let mut report = report(vec![delivered()]);
    report.outcomes[0].remote_id = Some("job-7".to_owned());
    report.outcomes[0].details = vec![("pages".to_owned(), "3".to_owned())];
    let settlement = world.attempt(&report);
    let about = &settlement.write.dsns[0].recipients[0];
    assert_eq!(about.remote_id.as_deref(), Some("job-7"));
    assert_eq!(about.details, [("pages".to_owned(), "3".to_owned())]);
    assert_eq!(about.response, good());
}

#[test]
fn the_content_goes_with_a_dsn_when_it_is_there() {
    let world = World::of(1);
    let context = Context { content: Some(b"Subject: fax\r\n\r\nbody"), ..world.context() };
    let report = report(vec![failed()]);
    let settlement =
        super::super::settle(context, &world.item, &report, "", 0, &mut fastrand::Rng::with_seed(1));
    assert_eq!(settlement.write.dsns[0].content.as_deref(), Some(&b"Subject: fax\r\n\r\nbody"[..]));
}

#[test]
fn no_two_dsns_of_an_item_share_a_key() {
    let mut world = World::notifying(&[Some(ALWAYS); 6]);
    let mut settlements = vec![world.report(vec![
        failed(),
        accepted(&["r1"]),
        accepted(&["r2"]),
        deferred(),
        deferred(),
        deferred(),
    ])];
    settlements.push(world.report(vec![failed(), failed(), failed(), failed(), deferred(), deferred()]));
    settlements.push(world.receipt("r1", ReceiptState::Delivered(good())).unwrap());
    let bad_word = ReceiptState::Failed { response: bad(), class: FailureClass::default() };
    settlements.push(world.receipt("r2", bad_word).unwrap());
    world.wait(DELAY);
    settlements.push(world.by_time().unwrap());
    settlements.push(world.remove(true));

    let keys: Vec<_> = settlements.iter().flat_map(|s| s.write.dsns.iter().map(|d| d.key.as_str())).collect();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 6, "{keys:?}");
}

#[test]
fn a_dsn_that_fails_or_expires_goes_to_bad_mail_and_what_else_becomes_of_it_does_not() {
    let dsn = || {
        let mut world = World::of(1);
        world.message.origin = Origin::Generated;
        world.message.envelope.reverse_path.clear();
        world
    };
    let refused = dsn().report(vec![failed()]);
    let expired = {
        let mut world = dsn();
        world.wait(EXPIRY);
        world.by_time().unwrap()
    };
    for settlement in [refused, expired] {
        assert!(settlement.bad_mail && settlement.write.dsns.is_empty());
        let named = (bad_mail::DETAIL.to_owned(), bad_mail::file_name(settlement.write.item.message));
        assert!(settlement.write.events[0].details.contains(&named), "{:?}", settlement.write.events);
    }
    for settlement in [dsn().report(vec![delivered()]), dsn().report(vec![deferred()]), dsn().remove(true)] {
        assert!(!settlement.bad_mail, "{settlement:?}");
    }
    let mut mail = World::of(1);
    assert!(!mail.report(vec![failed()]).bad_mail, "its sender is told");
}

#[test]
fn the_same_settlement_made_again_owes_the_same_dsn() {
    let mut first = World::of(2);
    let mut second = World::of(2);
    let (a, b) = (first.report(vec![failed(), deferred()]), second.report(vec![failed(), deferred()]));
    assert_eq!(a.write.dsns, b.write.dsns);
    assert_eq!(a.write.dsns.len(), 1);
}
