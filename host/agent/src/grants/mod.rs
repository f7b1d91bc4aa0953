//! Grants: the single doors that an operator opens for an agent. Everything else is denied.

mod directory;
mod endpoint;
mod http;
mod tcp;

use serde::Deserialize;

pub use directory::{Access, DirectoryGrant};
pub(crate) use endpoint::Endpoint;
pub use http::HttpGrant;
pub use tcp::TcpGrant;
pub(crate) use tcp::host_and_port;

/// What an agent may know of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clocks {
    /// As exactly as the system tells it.
    #[default]
    Exact,
    /// In whole seconds, so that nothing can be measured with it.
    Coarse,
    /// Nothing: looking at a clock ends the call.
    None,
}

/// What an agent may do beside handling its message. By default nothing but to know the time and have random numbers,
/// without which most languages do not start.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Where it may send HTTP requests.
    pub http: Vec<HttpGrant>,
    /// What it may connect to over TCP. Each host and port stands here once.
    pub tcp: Vec<TcpGrant>,
    /// The secrets that it may use, by name.
    pub secrets: Vec<String>,
    /// The folders that it may use. Each name that the agent sees stands here once.
    pub directories: Vec<DirectoryGrant>,
    /// What it may know of the time.
    pub clocks: Clocks,
    /// Whether it may have random numbers; asking for them ends the call else.
    pub random: bool,
}

impl Default for Grants {
    fn default() -> Self {
        let (http, tcp, secrets, directories) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { http, tcp, secrets, directories, clocks: Clocks::Exact, random: true }
    }
}

impl Grants {
    /// Reads the texts of a config.
    ///
    /// # Errors
    /// The first text that is no grant, with the reason; a host and port that is granted twice over TCP, because the
    /// agent names no more than those, and one of the two could say TLS and the other not.
    pub fn parse(http: &[String], tcp: &[String], secrets: &[String]) -> Result<Self, GrantError> {
        let http = http.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let tcp: Vec<TcpGrant> = tcp.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        for (at, grant) in tcp.iter().enumerate() {
            if tcp[..at].iter().any(|other| other.endpoint().is(grant.endpoint())) {
                let why = "its host and port are granted twice".to_owned();
                return Err(GrantError { text: grant.to_string(), why });
            }
        }
        Ok(Self { http, tcp, secrets: secrets.to_vec(), ..Self::default() })
    }
}

/// A text that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be granted: {why}")]
pub struct GrantError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_that_is_not_known_is_no_grant() {
        assert!(serde_json::from_str::<Grants>(r#"{"udp":["a:1"]}"#).is_err());
        assert_eq!(serde_json::from_str::<Grants>(r#"{"tcp":["a:1"]}"#).unwrap().tcp.len(), 1);
    }

    #[test]
    fn a_host_and_port_is_granted_over_tcp_once() {
        let tcp = |texts: &[&str]| {
            Grants::parse(&[], &texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), &[])
        };
        assert_eq!(tcp(&["a.example:1", "a.example:2", "b.example:1"]).unwrap().tcp.len(), 3);
        let twice = tcp(&["a.example:1", "tls://A.example:1"]).unwrap_err().to_string();
        assert!(twice.contains("tls://A.example:1") && twice.contains("granted twice"), "{twice}");
    }
}
