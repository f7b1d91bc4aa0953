//! A client without manners: it sends bytes and reads lines, and expects no particular answer.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use postern_tests::wait::DEADLINE;

/// A connection.
pub struct Raw {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Raw {
    /// Connects; nothing is read yet.
    pub fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
        stream.set_write_timeout(Some(DEADLINE)).expect("a deadline above zero");
        let lines = BufReader::new(stream.try_clone().expect("one more descriptor"));
        Self { stream, lines }
    }

    /// Sends bytes. The server may have closed the connection.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The next line of a reply; `None` when the server has closed the connection.
    ///
    /// # Panics
    /// When it does neither in time.
    pub fn line(&mut self) -> Option<String> {
        read_line(&mut self.lines)
    }

    /// Sends a line and reads the last line of its reply.
    pub fn command(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n").as_bytes()).expect("the server reads");
        self.reply()
    }

    /// The last line of the next reply.
    pub fn reply(&mut self) -> String {
        loop {
            let line = self.line().expect("a reply");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    /// Greeting, EHLO, and a transaction up to the reply to DATA or, without `data`, up to the recipients.
    pub fn begin(server: SocketAddr, recipients: &[&str], data: bool) -> Self {
        let mut raw = Self::connect(server);
        assert!(raw.reply().starts_with("220 "));
        let mut lines = vec!["EHLO hostile.example".to_owned(), "MAIL FROM:<jo@home.example>".to_owned()];
        lines.extend(recipients.iter().map(|recipient| format!("RCPT TO:<{recipient}>")));
        for line in lines {
            let reply = raw.command(&line);
            assert!(reply.starts_with("250 "), "{line}: {reply}");
        }
        if data {
            assert!(raw.command("DATA").starts_with("354 "));
        }
        raw
    }

    /// Reads all that the server says until it closes the connection, from now on and beside what is sent.
    pub fn listen(&self) -> JoinHandle<Vec<String>> {
        let mut lines = BufReader::new(self.stream.try_clone().expect("one more descriptor"));
        thread::spawn(move || std::iter::from_fn(|| read_line(&mut lines)).collect())
    }

    /// Waits for at most this long for the server to say something or to close the connection: whether it did neither.
    pub fn hears_nothing_for(&self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).expect("a time above zero");
        let heard = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
        heard.is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
    }

    /// All lines until the server closes the connection.
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// No more is sent, but replies are still read.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

fn read_line(lines: &mut BufReader<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    match lines.read_until(b'\n', &mut bytes) {
        Ok(0) => None,
        Ok(_) => Some(String::from_utf8_lossy(&bytes).trim_end().to_owned()),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            panic!("neither an answer nor the end of the connection in {DEADLINE:?}")
        }
        Err(_) => None,
    }
}
