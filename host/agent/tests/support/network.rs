//! A network for tests: every name is on this machine, or where the test says.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use postern_agent::{Network, NetworkFuture};
use tokio::net::TcpStream;

/// Gives the answers of a test in turn, the last one for ever; and lets nothing leave this machine.
#[derive(Debug)]
pub struct TestNetwork {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
    dialled: Mutex<Vec<SocketAddr>>,
}

impl TestNetwork {
    /// Each answer is a list of addresses.
    pub fn new(answers: &[&[&str]]) -> Self {
        let answers = answers.iter().map(|answer| answer.iter().map(|a| a.parse().unwrap()).collect());
        Self { answers: Mutex::new(answers.collect()), asked: Mutex::default(), dialled: Mutex::default() }
    }

    /// Every name is 127.0.0.1.
    pub fn local() -> Self {
        Self::new(&[&["127.0.0.1"]])
    }

    /// The names that were looked up so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// The addresses that were dialled so far, without their ports.
    pub fn dialled(&self) -> Vec<String> {
        self.dialled.lock().unwrap().iter().map(|address| address.ip().to_string()).collect()
    }
}

impl Network for TestNetwork {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> NetworkFuture<'a, Vec<SocketAddr>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        let answer =
            answer.unwrap_or_default().into_iter().map(|address| SocketAddr::new(address, port)).collect();
        Box::pin(async move { Ok(answer) })
    }

    /// Every address is played by 127.0.0.1.
    fn connect(&self, address: SocketAddr) -> NetworkFuture<'_, TcpStream> {
        self.dialled.lock().unwrap().push(address);
        Box::pin(TcpStream::connect((IpAddr::from([127, 0, 0, 1]), address.port())))
    }
}
