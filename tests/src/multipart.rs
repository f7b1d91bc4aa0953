//! The webhook's request body: `multipart/form-data` (RFC 7578), read strictly, so that not one byte is guessed.

use memchr::memmem;

/// The parts of a body by their names, in their order.
///
/// # Errors
/// What is not in the form that RFC 2046 5.1.1 and RFC 7578 lay down.
pub fn parts(content_type: &str, body: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let boundary = content_type
        .strip_prefix("multipart/form-data; boundary=")
        .ok_or_else(|| format!("the content type is {content_type:?}"))?;
    let first = format!("--{boundary}\r\n");
    let between = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(first.as_bytes()).ok_or("the body does not begin with the boundary")?;
    let mut parts = Vec::new();
    loop {
        let head = memmem::find(rest, b"\r\n\r\n").ok_or("a part without an empty line behind its header")?;
        let name = part_name(&rest[..head])?;
        let content = &rest[head + 4..];
        let end = memmem::find(content, between.as_bytes()).ok_or("a part without an end")?;
        parts.push((name, content[..end].to_vec()));
        rest = &content[end + between.len()..];
        if rest == b"--\r\n" {
            return Ok(parts);
        }
        rest = rest.strip_prefix(b"\r\n").ok_or("bytes behind a boundary")?;
    }
}

/// The name of a part.
fn part_name(head: &[u8]) -> Result<String, String> {
    let head = std::str::from_utf8(head).map_err(|_| "a part's header is not UTF-8")?;
    let line = head.split("\r\n").find(|line| line.starts_with("Content-Disposition: form-data;"));
    let name = line.and_then(|line| line.split_once(" name=\"")).and_then(|(_, rest)| rest.split_once('"'));
    name.map(|(name, _)| name.to_owned()).ok_or_else(|| format!("no name in {head:?}"))
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn parts_are_cut_to_the_byte() {
        let body = b"--b\r\nContent-Disposition: form-data; name=\"envelope\"\r\n\r\n{}\r\n--b\r\n\
            Content-Disposition: form-data; name=\"message\"; filename=\"message.eml\"\r\n\r\n\0\r\n--a\n\r\n\r\n--b--\r\n";
        let found = parts("multipart/form-data; boundary=b", body).unwrap();
        let expected =
            [("envelope".to_owned(), b"{}".to_vec()), ("message".to_owned(), b"\0\r\n--a\n\r\n".to_vec())];
        assert_eq!(found, expected);
        assert!(parts("multipart/form-data; boundary=c", body).is_err());
        assert!(parts("multipart/form-data; boundary=b", &body[..body.len() - 1]).is_err());
    }
}
