//! Guests: who is connected, and who else may come in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use postern_smtp::{EnhancedCode, Verdict};

use crate::config::ReceiveConfig;

/// The open connections of a receive connector.
#[derive(Debug, Default)]
pub struct Guests(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By client, with those that are being turned away: they hold a socket as well.
    by_client: HashMap<IpAddr, usize>,
    /// Those that are served.
    served: usize,
}

/// A connection in the count, for as long as it lives.
#[derive(Debug)]
pub struct Guest<'a> {
    guests: &'a Guests,
    client: IpAddr,
    /// Why it is not served.
    pub refusal: Option<Verdict>,
}

impl Guests {
    /// Counts a connection and decides whether it is served. The limit of its own address is looked at first: it also
    /// holds for those that would be turned away for another reason. These take no place of `max_connections`.
    pub fn enter(&self, client: IpAddr, config: &ReceiveConfig) -> Guest<'_> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = counts.by_client.entry(client).or_default();
        *own += 1;
        let refusal = if *own > config.max_connections_per_source {
            let text = "too many connections from your address (max_connections_per_source)";
            Some(Verdict::new(421, EnhancedCode::new(4, 7, 0), text))
        } else if !config.admits(client) {
            let text = "this host does not serve your network (remote_networks)";
            Some(Verdict::new(554, EnhancedCode::new(5, 7, 1), text))
        } else if counts.served >= config.max_connections {
            let text = "too many connections (max_connections), try again later";
            Some(Verdict::new(421, EnhancedCode::new(4, 3, 2), text))
        } else {
            counts.served += 1;
            None
        };
        Guest { guests: self, client, refusal }
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        let mut counts = self.guests.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = counts.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                counts.by_client.remove(&self.client);
            }
        }
        if self.refusal.is_none() {
            counts.served -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::check_text;

    fn config(lines: &str) -> ReceiveConfig {
        let text = format!(
            "[host]\nname = \"gw.example\"\n[receive_connectors.in]\nlisten = [\"127.0.0.1:0\"]\n\
             remote_networks = [\"10.0.0.0/8\"]\n{lines}\n\
             [send_connectors.out]\naddress_spaces = [\"*.example\"]\nsmart_hosts = [\"127.0.0.1:25\"]\n"
        );
        let checked = check_text(&text, Path::new("x"), Path::new("/x"), &|_| None);
        checked.unwrap().0.receive_connectors.remove(0)
    }

    fn code(guest: &Guest<'_>) -> Option<u16> {
        guest.refusal.as_ref().map(Verdict::code)
    }

    #[test]
    fn those_that_are_turned_away_take_no_place_but_their_own() {
        let config = config("max_connections = 2\nmax_connections_per_source = 3");
        let guests = Guests::default();
        let stranger: IpAddr = "192.0.2.1".parse().unwrap();
        let strangers: Vec<_> = (0..4).map(|_| guests.enter(stranger, &config)).collect();
        let codes: Vec<_> = strangers.iter().map(code).collect();
        assert_eq!(codes, [Some(554), Some(554), Some(554), Some(421)]);

        let client = |n: u8| IpAddr::from([10, 0, 0, n]);
        let served: Vec<_> = (1..=2).map(|n| guests.enter(client(n), &config)).collect();
        assert!(served.iter().all(|guest| guest.refusal.is_none()));
        assert_eq!(code(&guests.enter(client(3), &config)), Some(421));
        drop(served);
        assert_eq!(code(&guests.enter(client(3), &config)), None);

        drop(strangers);
        let counts = guests.0.lock().unwrap();
        assert_eq!((counts.by_client.len(), counts.served), (0, 0));
    }
}
