//! One HTTP request to the admin interface, over a socket.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::wait::DEADLINE;

/// The status and the body of `GET path`.
///
/// # Panics
/// When the server cannot be asked or does not answer in HTTP.
#[must_use]
pub fn get(server: SocketAddr, path: &str) -> (u16, String) {
    get_with(server, path, "Accept: */*")
}

/// As [`get`], with a header field of one's own.
///
/// # Panics
/// As [`get`].
#[must_use]
pub fn get_with(server: SocketAddr, path: &str, field: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).expect("the admin interface listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline above zero");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\n{field}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the admin interface reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the admin interface answers in UTF-8 and closes");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an empty line parts head and body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no status in {head:?}")), body.to_owned())
}
