//! SendConnector: hands items to a smart host over SMTP, with their DSN parameters.

mod form;
mod smart_host_line;
mod unspeakable;

use std::sync::Arc;

use postern_model::{Deferral, NextHop, NotOpened, Receipt, Refusal};

use super::{BoxFuture, Connection, Connector, ConnectorState};
use crate::config::SendConfig;
use crate::smtp_client::{ClientTimeouts, SmtpClient};
use smart_host_line::SmartHostLine;

/// The connector.
pub struct SendConnector {
    config: Arc<SendConfig>,
    host_name: String,
}

impl SendConnector {
    /// A connector to the smart hosts of a config.
    #[must_use]
    pub fn new(config: &SendConfig, host_name: &str) -> Self {
        Self { config: Arc::new(config.clone()), host_name: host_name.to_owned() }
    }

    /// Connects to the first smart host that answers.
    async fn connect(&self) -> Result<Box<dyn Connection>, Refusal> {
        let timeouts = ClientTimeouts {
            connect: self.config.connect_timeout,
            command: self.config.command_timeout,
            data: self.config.data_timeout,
        };
        let mut last = None;
        for host in &self.config.smart_hosts {
            match SmtpClient::connect(&host.host, host.port, &self.config.helo, timeouts).await {
                Ok(client) => {
                    return Ok(Box::new(SmartHostLine::new(client, host.to_string(), &self.host_name)));
                }
                Err(error) => {
                    tracing::info!(connector = %self.config.common.name, smart_host = %host, %error, "no connection");
                    last = Some(format!("{host}: {error}"));
                }
            }
        }
        let text = last.unwrap_or_else(|| "no smart host is configured".to_owned());
        Err(Refusal::DeferQueue(Deferral::new(451, (4, 4, 1), &text, "service-unavailable")))
    }
}

impl Connector for SendConnector {
    fn name(&self) -> &str {
        &self.config.common.name
    }

    fn open<'a>(&'a self, _hop: &'a NextHop) -> BoxFuture<'a, Result<Box<dyn Connection>, NotOpened>> {
        Box::pin(async { Ok(self.connect().await?) })
    }

    fn poll_receipts<'a>(&'a self, _ids: &'a [String]) -> BoxFuture<'a, Result<Vec<Receipt>, Deferral>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn can_poll(&self) -> bool {
        false
    }

    fn state(&self) -> ConnectorState {
        ConnectorState::Ready
    }
}
