//! What a breaker does to the mail of its connector.

use super::*;

/// A breaker that opens after so many messages, for so long.
fn breaker(after: u32, backoff: Duration) -> Option<Arc<AgentBreaker>> {
    AgentBreaker::new(BreakerLimits { after, backoff, backoff_max: Duration::from_secs(3_600) })
}

impl World {
    /// What was tracked of the queues: the operation and the destination.
    async fn operations(&self) -> Vec<(String, String)> {
        self.store.flush().await.unwrap();
        let events = self.store.events(0, 100).await.unwrap();
        let told = events.into_iter().map(|(_, event)| event).filter(|e| e.message == MessageId::NONE);
        told.map(|event| (event.details[0].1.clone(), event.destination.unwrap_or_default())).collect()
    }

    async fn attempts(&self, item: ItemId) -> u32 {
        self.store.load(item).await.unwrap().unwrap().item.attempts
    }
}

fn tracked(operation: &str, destination: &str) -> (String, String) {
    (operation.to_owned(), destination.to_owned())
}

#[tokio::test]
async fn an_open_breaker_holds_all_mail_of_its_connector_and_costs_it_no_attempt() {
    let mut world = World::new(2, [Act::Panic, Act::Panic, Act::Panic]);
    world.far_end.breaker = breaker(2, Duration::from_secs(3_600));
    for destination in ["a", "b"] {
        world.put(destination).await;
    }
    let held = [world.put("a").await, world.put("b").await];
    // One connection, so that the order is known; the second panic opens it.
    world.start(LIMITS);
    world.expect(&["open a", "open b"]).await;
    let breaker = world.far_end.breaker.clone().unwrap();
    while breaker.view().state != "open" {
        tokio::task::yield_now().await;
    }
    world.stop().await;
    assert!(world.told.try_recv().is_err(), "nothing else was opened");
    for item in held {
        assert_eq!(world.attempts(item).await, 0);
        assert!(world.store.index().item_view(item).is_some_and(|view| !view.leased), "it is nobody's");
    }
    assert_eq!(world.operations().await, [tracked("breaker-opened", "a"), tracked("breaker-opened", "b")]);
    assert!(breaker.view().reason.is_some_and(|reason| reason.contains("a fault in the connector")));
}

#[tokio::test]
async fn after_the_pause_one_message_tries_and_when_it_works_the_others_follow() {
    let mut world = World::new(2, [Act::Panic, Act::Panic]);
    world.far_end.breaker = breaker(1, Duration::from_millis(50));
    world.far_end.batch = 10;
    let broken = [world.put("a").await, world.put("b").await];
    let rest = [world.put("c").await, world.put("c").await, world.put("c").await];
    world.start(LIMITS);
    // The probe of "b" breaks, too; that of "c" is made with one item, where the agent would take ten.
    world.expect(&["open a", "open b", "open c", "deliver c", "batch 2 c"]).await;
    world.stop().await;
    for item in broken {
        assert_eq!(world.attempts(item).await, 1);
    }
    for item in rest {
        assert!(world.store.load(item).await.unwrap().is_none(), "it is delivered");
    }
    let view = world.far_end.breaker.clone().unwrap().view();
    assert_eq!((view.state, view.opened, view.broke), ("closed", 2, 0));
    let operations = world.operations().await;
    assert_eq!(operations.last().map(|(operation, _)| &**operation), Some("breaker-closed"));
}

#[tokio::test]
async fn a_message_that_is_known_to_break_the_agent_does_not_keep_its_breaker_open() {
    let mut world = World::new(2, [Act::Panic, Act::Panic]);
    world.far_end.breaker = breaker(1, Duration::from_millis(50));
    world.put("a").await;
    let known = world.put_after("b", 1).await;
    world.put("c").await;
    world.start(LIMITS);
    // What breaks on the way out of the pause is the known one: the next goes at once, and closes it.
    world.expect(&["open a", "open b", "open c", "deliver c"]).await;
    world.stop().await;
    assert_eq!(world.attempts(known).await, 1);
    let view = world.far_end.breaker.clone().unwrap().view();
    assert_eq!((view.state, view.opened), ("closed", 1));
}
