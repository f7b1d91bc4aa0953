//! Drop files: what may be said of recipients whose file was taken back, was taken, or is out of reach.

use super::*;

const FILE: &str = "m.0.eml";

/// Two recipients that wait for the gateway to take the file.
fn waiting() -> World {
    let mut world = World::of(2);
    world.report(vec![accepted(&[FILE]), accepted(&[FILE])]);
    world
}

fn withdrawn() -> Whereabouts {
    Whereabouts::Withdrawn { file: FILE.to_owned() }
}

fn taken() -> Whereabouts {
    let state = ReceiptState::Relayed(Response::new(250, (2, 0, 0), "taken by the gateway"));
    let details = vec![("seen-by".to_owned(), "scan".to_owned())];
    Whereabouts::Taken(Receipt { details, ..Receipt::new(FILE, state) })
}

fn claimed() -> Whereabouts {
    Whereabouts::Claimed { file: FILE.to_owned(), new: "m.0.eml.work".to_owned() }
}

fn vanished() -> Whereabouts {
    Whereabouts::Vanished { file: FILE.to_owned() }
}

fn unreachable() -> Whereabouts {
    Whereabouts::Unreachable { file: FILE.to_owned(), why: "not mounted".to_owned() }
}

/// The fate that all of its recipients get, and what the file was called in the event.
fn fate_of_all(settlement: &Settlement) -> Fate {
    let [(fate, 2)] = settlement.write.fates.0[..] else { panic!("{:?}", settlement.write.fates) };
    assert!(settlement.write.after.is_none());
    assert_eq!(
        finished(settlement),
        if settlement.write.finished_receipts.is_empty() { vec![] } else { vec![FILE] }
    );
    fate
}

#[test]
fn what_was_taken_back_in_time_has_expired_and_is_not_unknown() {
    let mut world = waiting();
    world.now = start() + PATIENCE;
    let settlement = world.by_time_with(&withdrawn()).unwrap();
    assert_eq!((fate_of_all(&settlement), finished(&settlement)), (Fate::Expired, vec![FILE]));
    assert_eq!(notified(&settlement, DsnKind::Failed), [0, 1]);
    let event = settlement.write.events.iter().find(|e| e.kind == EventKind::Expire).unwrap();
    assert!(event.details.contains(&("withdrawn".to_owned(), FILE.to_owned())), "{event:?}");
    let response = &settlement.write.dsns[0].recipients[0].response;
    assert!(response.is_permanent() && response.text.contains("withdrawn"), "{response}");
}

#[test]
fn what_was_taken_is_relayed_whoever_asks() {
    type Ask = fn(&mut World) -> Settlement;
    let ways: [Ask; 3] = [
        |world| world.by_time_with(&taken()).unwrap(),
        |world| world.remove_with(false, &taken()).unwrap(),
        |world| world.remove_with(true, &taken()).unwrap(),
    ];
    for ask in ways {
        let mut world = waiting();
        world.now = start() + PATIENCE;
        let settlement = ask(&mut world);
        assert_eq!((fate_of_all(&settlement), finished(&settlement)), (Fate::Relayed, vec![FILE]));
        assert_eq!(told_of(&settlement, EventKind::Relay), [0, 1]);
        assert_eq!(told_of(&settlement, EventKind::Taken), [0, 1]);
        assert!(notified(&settlement, DsnKind::Failed).is_empty());
    }
}

#[test]
fn a_hand_over_that_was_never_recorded_ends_by_its_file_too() {
    let expired = |whereabouts: &Whereabouts| {
        let mut world = World::of(2);
        world.wait(EXPIRY);
        fate_of_all(&world.by_time_with(whereabouts).unwrap())
    };
    assert_eq!(expired(&Whereabouts::Nothing), Fate::Expired);
    assert_eq!(expired(&withdrawn()), Fate::Expired);
    assert_eq!(expired(&taken()), Fate::Relayed);
    assert_eq!(expired(&claimed()), Fate::Unknown);
    assert_eq!(expired(&unreachable()), Fate::Unknown);
    let mut world = World::of(2);
    let settlement = world.remove_with(false, &taken()).unwrap();
    assert_eq!(fate_of_all(&settlement), Fate::Relayed);
    assert_eq!(told_of(&settlement, EventKind::Taken), [0, 1]);
}

#[test]
fn what_nobody_can_tell_is_unknown_at_its_time_and_says_why() {
    for (whereabouts, why) in
        [(claimed(), "m.0.eml.work"), (vanished(), "went away"), (unreachable(), "not mounted")]
    {
        let mut world = waiting();
        world.now = start() + PATIENCE;
        let settlement = world.by_time_with(&whereabouts).unwrap();
        assert_eq!(fate_of_all(&settlement), Fate::Unknown);
        let response = &settlement.write.dsns[0].recipients[0].response;
        assert!(response.text.contains(FILE) && response.text.contains(why), "{response}");
    }
}

#[test]
fn a_withdrawn_file_ends_everybody_whom_it_was_for() {
    let mut world = waiting();
    // The second waits longer.
    if let RecipientState::Pending { expires_at, .. } = &mut world.item.recipients[1].state {
        *expires_at = start() + PATIENCE * 2;
    }
    world.now = start() + PATIENCE;
    assert_eq!(fate_of_all(&world.by_time_with(&withdrawn()).unwrap()), Fate::Expired);
}

#[test]
fn nothing_is_to_be_taken_back_for_word_of_a_delay() {
    let mut world = World::of(1);
    world.wait(DELAY);
    assert!(!crate::settle::decides_by_time(&world.item, world.now));
    assert_eq!(notified(&world.by_time().unwrap(), DsnKind::Delayed), [0]);
    world.now = start() + EXPIRY;
    assert!(crate::settle::decides_by_time(&world.item, world.now));
    let mut world = waiting();
    assert!(!crate::settle::decides_by_time(&world.item, world.now));
    world.now = start() + PATIENCE;
    assert!(crate::settle::decides_by_time(&world.item, world.now));
}

#[test]
fn removing_what_was_withdrawn_is_a_removal_and_names_the_file() {
    for (tell, fate, kind) in
        [(false, Fate::Removed, EventKind::Remove), (true, Fate::Failed, EventKind::Fail)]
    {
        let mut world = waiting();
        let settlement = world.remove_with(tell, &withdrawn()).unwrap();
        assert_eq!((fate_of_all(&settlement), finished(&settlement)), (fate, vec![FILE]));
        assert_eq!(notified(&settlement, DsnKind::Failed).is_empty(), !tell);
        let event = settlement.write.events.iter().find(|e| e.kind == kind).unwrap();
        assert!(event.details.contains(&("withdrawn".to_owned(), FILE.to_owned())), "{event:?}");
    }
}

#[test]
fn what_may_still_be_sent_is_not_removed() {
    for (whereabouts, why) in [(claimed(), "m.0.eml.work"), (unreachable(), "not mounted")] {
        let mut world = waiting();
        let before = world.item.clone();
        let refused = world.remove_with(true, &whereabouts).unwrap_err();
        assert!(refused.contains(FILE) && refused.contains(why), "{refused}");
        assert_eq!(world.item, before);
    }
}

#[test]
fn removing_what_went_away_with_its_directory_ends_as_unknown_and_tells_the_sender_only_if_asked() {
    for tell in [false, true] {
        let mut world = waiting();
        let settlement = world.remove_with(tell, &vanished()).unwrap();
        assert_eq!(fate_of_all(&settlement), Fate::Unknown);
        assert_eq!(settlement.write.dsns.is_empty(), !tell);
    }
}
