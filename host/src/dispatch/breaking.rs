//! What the end of a call says about its agent, and who is told when a breaker changes.

use jiff::Timestamp;
use postern_model::{DeliveryReport, DeliveryRequest, NextHop, TrackingEvent};

use super::Settler;
use crate::breaker::{AgentBreaker, Change, Pass, Verdict};
use crate::connector::Connector;

/// Queues that are tracked when the breaker of their connector changes; of a connector with more, those first by name.
const MAX_TRACKED_QUEUES: usize = 100;

/// The leave to make one call of a connector; `None` while its breaker gives none.
pub(super) fn admit(connector: &dyn Connector) -> Option<Pass> {
    connector.breaker().map_or_else(|| Some(Pass::free()), AgentBreaker::admit)
}

/// How a call went, as far as its reports do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It was made.
    Made,
    /// There was no connection to make it over.
    NotOpened {
        /// The agent broke over that.
        trapped: bool,
    },
}

/// What a call says about the agent, and how it broke.
pub(super) fn verdict<'a>(
    call: Call,
    requests: &[DeliveryRequest],
    reports: &'a [DeliveryReport],
) -> (Verdict, &'a str) {
    let fault = reports.iter().find_map(|report| report.fault.as_ref());
    let said = fault.map_or("", |fault| &fault.response.text);
    let verdict = match call {
        Call::NotOpened { trapped: true } => Verdict::Broke,
        // The agent's own refusal, no free instance, or a far end that let it wait.
        Call::NotOpened { trapped: false } => Verdict::Nothing,
        // A version on trial does not speak for the connector, and one that was not called says nothing.
        Call::Made if reports.iter().all(|report| report.on_trial || report.not_begun) => Verdict::Nothing,
        // A message that has trapped before is known: see the rule in `crate::breaker`.
        Call::Made if reports.iter().any(|report| report.trapped) => {
            let known = requests.iter().any(|request| request.item.traps > 0);
            if known { Verdict::Nothing } else { Verdict::Broke }
        }
        Call::Made if reports.iter().any(|report| report.fault.is_some() && report.broken) => {
            Verdict::Nothing
        }
        Call::Made => Verdict::Worked,
    };
    (verdict, said)
}

impl Settler {
    /// Tells of a change of a connector's breaker: in the log, and in the tracking of each queue that it holds up.
    pub(super) fn breaker_changed(&self, hop: &NextHop, change: Change, reason: &str) {
        let connector = &*hop.connector;
        let (operation, why) = match change {
            Change::Opened { pause, broke } => {
                tracing::error!(
                    connector,
                    ?pause,
                    broke,
                    reason,
                    "the agent breaks with every message; its mail waits"
                );
                let times =
                    if broke == 1 { "once more".to_owned() } else { format!("{broke} times in a row") };
                ("breaker-opened", format!("the agent broke {times}; its mail waits for {pause:?}: {reason}"))
            }
            Change::Closed => {
                tracing::info!(connector, "the agent works again; its mail is delivered");
                ("breaker-closed", "the agent works again".to_owned())
            }
        };
        let hops = self.store().index().hops();
        let held = hops.iter().filter(|view| *view.next_hop.connector == *connector && view.items > 0);
        let now = Timestamp::now();
        let event = |queue| TrackingEvent::of_queue(queue, operation, "host", Some(&why), now);
        let events = held.take(MAX_TRACKED_QUEUES).map(|view| event(&view.next_hop)).collect();
        // Nothing depends on them: a crash that loses them loses the breaker, too.
        drop(self.store().record(events));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_model::Deferral;
    use postern_store::conformance::sample;

    use super::*;

    fn request(traps: u32) -> DeliveryRequest {
        let put = sample::small(&NextHop::new("fax", "FAX:*"));
        let mut item = put.items[0].clone();
        item.traps = traps;
        DeliveryRequest { message: put.message, item: Arc::new(item), content: put.content, attempt: 1 }
    }

    fn broken(text: &str, trapped: bool) -> DeliveryReport {
        DeliveryReport { trapped, ..DeliveryReport::broken(Deferral::new(451, (4, 3, 0), text, "")) }
    }

    #[test]
    fn only_the_first_trap_of_a_message_and_a_failed_open_count_against_the_agent() {
        let told = DeliveryReport { broken: false, ..broken("an error of its own", false) };
        let on_trial = DeliveryReport { on_trial: true, ..broken("trapped", true) };
        let cases = [
            (Call::Made, 0, DeliveryReport::default(), Verdict::Worked),
            (Call::Made, 3, DeliveryReport::default(), Verdict::Worked),
            (Call::Made, 0, told, Verdict::Worked),
            (Call::Made, 0, broken("trapped", true), Verdict::Broke),
            (Call::Made, 0, on_trial, Verdict::Nothing),
            (Call::Made, 0, DeliveryReport { on_trial: true, ..DeliveryReport::default() }, Verdict::Nothing),
            (
                Call::Made,
                0,
                DeliveryReport { not_begun: true, ..DeliveryReport::default() },
                Verdict::Nothing,
            ),
            (Call::Made, 1, broken("trapped", true), Verdict::Nothing),
            (Call::Made, 0, broken("not done within the deadline", false), Verdict::Nothing),
            (Call::NotOpened { trapped: true }, 0, DeliveryReport::default(), Verdict::Broke),
            (Call::NotOpened { trapped: true }, 1, DeliveryReport::default(), Verdict::Broke),
            (Call::NotOpened { trapped: false }, 0, DeliveryReport::default(), Verdict::Nothing),
        ];
        for (call, traps, report, expected) in cases {
            let (found, _) = verdict(call, &[request(traps)], std::slice::from_ref(&report));
            assert_eq!(found, expected, "{call:?}, {traps} traps, {report:?}");
        }
        let reports = [DeliveryReport::default(), broken("trapped: unreachable", true)];
        let expected = (Verdict::Broke, "trapped: unreachable");
        assert_eq!(verdict(Call::Made, &[request(0), request(0)], &reports), expected);
    }
}
