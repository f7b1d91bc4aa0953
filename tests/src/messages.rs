//! Messages to send: composed ones, our own samples, and a folder of real mail where there is one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::root;

/// A small message with a subject.
#[must_use]
pub fn simple(subject: &str) -> Vec<u8> {
    format!(
        "From: jo@home.example\r\nTo: ann@far.example\r\nSubject: {subject}\r\nMessage-ID: <{subject}@home.example>\r\n\
         \r\nHello,\r\n.this line begins with a dot\r\nbye\r\n"
    )
    .into_bytes()
}

/// A message of about so many bytes, in lines of 76, whose body differs from line to line.
#[must_use]
pub fn sized(subject: &str, bytes: usize) -> Vec<u8> {
    let mut message = format!("Subject: {subject}\r\n\r\n").into_bytes();
    let mut line = 0_u64;
    while message.len() < bytes {
        message.extend_from_slice(format!("{line:076}\r\n").as_bytes());
        line += 1;
    }
    message
}

/// A message with one line of so many bytes.
#[must_use]
pub fn long_line(subject: &str, length: usize) -> Vec<u8> {
    let letters = (0..length).map(|i| b'a' + u8::try_from(i % 26).expect("less than 26"));
    let mut message = format!("Subject: {subject}\r\n\r\n").into_bytes();
    message.extend(letters);
    message.extend_from_slice(b"\r\nend\r\n");
    message
}

/// A message with every byte there is but CR, LF and NUL.
#[must_use]
pub fn eight_bit(subject: &str) -> Vec<u8> {
    let mut message = format!("Subject: {subject} \u{fc}\r\n\r\n").into_bytes();
    message.extend((1..=255_u8).filter(|byte| !matches!(byte, b'\r' | b'\n')));
    message.extend_from_slice(b"\r\n");
    message
}

/// A message with NULs, lone line ends and no line end at its end.
#[must_use]
pub fn binary(subject: &str) -> Vec<u8> {
    let mut message = format!("Subject: {subject}\r\nContent-Transfer-Encoding: binary\r\n\r\n").into_bytes();
    message.extend_from_slice(b"\0\0lone\nand\rand\r\n.\r\n..\r\n\xff\xfe\0 no end");
    message
}

/// Our own samples, by name. Each has a trait that some mail system stumbles over.
///
/// # Panics
/// When they are not in the checkout.
#[must_use]
pub fn samples() -> Vec<(String, Vec<u8>)> {
    let all = in_folder(&root().join("tests/samples"));
    assert!(all.len() >= 8, "{} samples in tests/samples", all.len());
    all
}

/// All `.eml` files below a folder, by name.
///
/// # Panics
/// When the folder cannot be read.
#[must_use]
pub fn in_folder(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut paths = Vec::new();
    collect(folder, &mut paths);
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        (name, fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    paths.into_iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("a readable folder").path()) {
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "eml") {
            paths.push(path);
        }
    }
}

/// The message as DATA can carry it: lone line feeds become CRLF, and the last line gets its end (RFC 5321 4.1.1.4).
/// `None` where DATA cannot carry it: with a NUL or a lone CR in it (RFC 5321 2.3.8, RFC 6152).
#[must_use]
pub fn for_data(message: &[u8]) -> Option<Vec<u8>> {
    let mut repaired = Vec::with_capacity(message.len() + 1024);
    let mut before = 0;
    for byte in message {
        if *byte == 0 || before == b'\r' && *byte != b'\n' {
            return None;
        }
        if *byte == b'\n' && before != b'\r' {
            repaired.push(b'\r');
        }
        repaired.push(*byte);
        before = *byte;
    }
    if before == b'\r' {
        return None;
    }
    if !repaired.is_empty() && before != b'\n' {
        repaired.extend_from_slice(b"\r\n");
    }
    Some(repaired)
}

#[cfg(test)]
mod tests {
    use super::for_data;

    #[test]
    fn what_data_can_carry() {
        assert_eq!(for_data(b"a\nb\r\nc").unwrap(), b"a\r\nb\r\nc\r\n");
        assert_eq!(for_data(b"").unwrap(), b"");
        for bad in [&b"a\0b"[..], b"a\rb", b"a\r\r\n", b"a\r"] {
            assert_eq!(for_data(bad), None, "{bad:?}");
        }
    }
}
