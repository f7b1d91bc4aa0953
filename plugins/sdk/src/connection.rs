//! Connection: the life of one agent value between `open-connection` and `close-connection`.

use crate::{Agent, Deferral, Item, NextHop, Refusal, Report, class, settings};

/// The agent of the one connection that an instance of a component serves, or none yet.
pub struct Connection<A> {
    agent: Option<A>,
}

impl<A> Connection<A> {
    /// Not open.
    #[must_use]
    pub const fn new() -> Self {
        Self { agent: None }
    }
}

impl<A> Default for Connection<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Agent> Connection<A> {
    /// Opens it with the host's settings, and gives the label of the far end. An agent that was open before is dropped.
    ///
    /// # Errors
    /// With the agent's refusal, or with one that tells which setting does not fit.
    pub fn open(&mut self, hop: &NextHop) -> Result<String, Refusal> {
        self.agent = None;
        let settings =
            settings::load().map_err(|text| Refusal::DeferQueue(Deferral::new(text, class::UNSPECIFIED)))?;
        let agent = A::open(hop, settings).map_err(Refusal::fitted)?;
        let label = agent.label();
        self.agent = Some(agent);
        Ok(label)
    }

    /// Delivers one item. The codes of what it reports fit their outcomes.
    ///
    /// # Errors
    /// With the agent's text, or when the connection is not open.
    pub fn deliver(&mut self, item: &Item) -> Result<Report, String> {
        let agent = self.agent.as_mut().ok_or("deliver was called on a connection that is not open")?;
        agent.deliver(item).map(Report::fitted)
    }

    /// The agent of an open connection.
    pub(crate) fn agent(&mut self) -> Option<&mut A> {
        self.agent.as_mut()
    }

    /// Closes it; a connection that is not open is closed.
    ///
    /// # Errors
    /// With the agent's text.
    pub fn close(&mut self) -> Result<(), String> {
        self.agent.take().map_or(Ok(()), Agent::close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Host, TestItem, next_hop};
    use crate::{Description, Outcome, Response};

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        code: u16,
    }

    struct Fixed(u16);

    impl Agent for Fixed {
        type Settings = Settings;

        fn describe() -> Description {
            Description::new("fixed", "0", "TEST")
        }

        fn open(_hop: &NextHop, settings: Settings) -> Result<Self, Refusal> {
            Ok(Self(settings.code))
        }

        fn label(&self) -> String {
            format!("answers {}", self.0)
        }

        fn deliver(&mut self, item: &Item) -> Result<Report, String> {
            let outcome = Outcome::Delivered(Response::new(self.0, (5, 0, 0), "x"));
            Ok(Report::all(&item.recipients(), &outcome))
        }

        fn close(self) -> Result<(), String> {
            Err("closed badly".to_owned())
        }
    }

    #[test]
    fn settings_that_do_not_fit_refuse_the_queue_with_a_text_that_says_why() {
        Host::new().settings(r#"{"code": "many"}"#).install();
        let refusal = Connection::<Fixed>::new().open(&next_hop()).unwrap_err();
        let Refusal::DeferQueue(deferral) = refusal else { panic!("the queue must not fail") };
        assert_eq!(deferral.response.code, 451);
        assert_eq!(deferral.response.text, "settings.code: invalid type: string \"many\", expected u16");
    }

    #[test]
    fn an_agent_lives_from_open_to_close_and_its_codes_are_made_to_fit() {
        Host::new().settings(r#"{"code": 550}"#).install();
        let mut connection = Connection::<Fixed>::new();
        let item = TestItem::new(b"x").item();
        assert!(connection.deliver(&item).unwrap_err().contains("not open"));
        assert_eq!(connection.open(&next_hop()).unwrap(), "answers 550");
        let report = connection.deliver(&item).unwrap();
        assert_eq!(report.outcomes[0].outcome, Outcome::Delivered(Response::new(250, (2, 0, 0), "x")));
        assert_eq!(connection.close().unwrap_err(), "closed badly");
        assert!(connection.close().is_ok());
        assert!(connection.deliver(&item).is_err());
    }
}
