//! The smallest delivery agent: it logs a greeting and the size of each message, and says that it delivered it.
//! A place to begin for agents of your own, and a far end for trying out queues.

use postern_agent_sdk::{Agent, Description, Item, NextHop, Outcome, Refusal, Report, log};

/// The connector's `settings` table.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What is logged when a connection opens.
    #[serde(default = "default_greeting")]
    pub greeting: String,
}

fn default_greeting() -> String {
    "hello".to_owned()
}

/// An open connection to nowhere.
pub struct Hello {
    destination: String,
}

impl Agent for Hello {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("hello", env!("CARGO_PKG_VERSION"), "HELLO")
    }

    fn open(hop: &NextHop, settings: Settings) -> Result<Self, Refusal> {
        log::info(&format!("{}, {}", settings.greeting, hop.destination));
        Ok(Self { destination: hop.destination.clone() })
    }

    fn label(&self) -> String {
        format!("hello {}", self.destination)
    }

    fn deliver(&mut self, item: &Item) -> Result<Report, String> {
        let envelope = item.envelope();
        log::info(&format!("{} bytes from <{}>", envelope.size, envelope.reverse_path));
        let mut report = Report::default();
        for recipient in item.recipients() {
            report.push(recipient.index, Outcome::delivered(format!("greeted {}", recipient.address)));
        }
        Ok(report)
    }
}

postern_agent_sdk::export_agent!(Hello);

#[cfg(test)]
mod tests {
    use super::*;
    use postern_agent_sdk::testing::{Host, TestItem, logged, next_hop};
    use postern_agent_sdk::{Connection, Response};

    #[test]
    fn every_recipient_is_greeted() {
        Host::new().settings(r#"{"greeting": "moin"}"#).install();
        let mut connection = Connection::<Hello>::new();
        assert_eq!(connection.open(&next_hop()).unwrap(), "hello box.example");
        let item = TestItem::new(b"x").recipients(&["ann@box.example", "bob@box.example"]).item();
        let report = connection.deliver(&item).unwrap();
        let expected = Outcome::Delivered(Response::new(250, (2, 0, 0), "greeted bob@box.example"));
        assert_eq!((report.outcomes.len(), &report.outcomes[1].outcome), (2, &expected));
        assert_eq!(logged()[0].1, "moin, box.example");
    }
}
