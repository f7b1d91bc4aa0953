//! my-agent: logs each message, and says that it delivered it.

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

/// One open connection.
pub struct Hello {
    destination: String,
}

impl Agent for Hello {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("my-agent", env!("CARGO_PKG_VERSION"), "HELLO")
    }

    fn open(hop: &NextHop, settings: Settings) -> Result<Self, Refusal> {
        log::info(&format!("{}, {}", settings.greeting, hop.destination));
        Ok(Self { destination: hop.destination.clone() })
    }

    fn label(&self) -> String {
        self.destination.clone()
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
    use postern_agent_sdk::Connection;
    use postern_agent_sdk::testing::{Host, TestItem, logged, next_hop};

    #[test]
    fn every_recipient_is_greeted() {
        Host::new().settings(r#"{"greeting": "moin"}"#).install();
        let mut connection = Connection::<Hello>::new();
        connection.open(&next_hop()).unwrap();
        let item = TestItem::new(b"x").recipients(&["ann@box.example", "bob@box.example"]).item();
        let report = connection.deliver(&item).unwrap();
        assert_eq!(report.outcomes.len(), 2);
        assert_eq!(report.outcomes[1].outcome, Outcome::delivered("greeted bob@box.example"));
        assert_eq!(logged()[0].1, "moin, box.example");
    }
}
