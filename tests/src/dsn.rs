//! Reading a delivery status notification as a program does: by its fields (RFC 3464).

/// The fields of the part `message/delivery-status`, unfolded, in their order: those of the message, then those of each
/// recipient.
///
/// # Panics
/// When the text is no notification.
#[must_use]
pub fn status_fields(message: &str) -> Vec<(String, String)> {
    assert!(message.contains("multipart/report"), "no multipart/report: {message}");
    let (_, part) = message.split_once("Content-Type: message/delivery-status").expect("a part for programs");
    let (_, body) = part.split_once("\r\n\r\n").expect("the part's header ends");
    let (body, _) = body.split_once("\r\n--").expect("the part ends");
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in body.split("\r\n").filter(|line| !line.is_empty()) {
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line:?} is no field"));
                fields.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    fields
}

/// The value of the first field of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    let found = fields.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("no field {name} in {fields:?}")).1
}
