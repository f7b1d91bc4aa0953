//! Pdu: SMPP 3.4 as bytes, in both directions. Pure; nothing that a far end sends makes it allocate more than it sent.

use std::fmt;

/// The longest PDU that is taken, in bytes: a `message_payload` of 64 KiB and its mandatory fields fit.
pub const MAX_PDU: usize = 70_000;
/// The header: length, command, status and sequence number (3.2).
const HEADER: usize = 16;

/// `command_id` (5.1.2.1); a response has the highest bit set.
pub mod command {
    #![allow(missing_docs, reason = "the names are those of the standard")]
    pub const GENERIC_NACK: u32 = 0x8000_0000;
    pub const BIND_TRANSCEIVER: u32 = 0x0000_0009;
    pub const SUBMIT_SM: u32 = 0x0000_0004;
    pub const DELIVER_SM: u32 = 0x0000_0005;
    pub const UNBIND: u32 = 0x0000_0006;
    pub const ENQUIRE_LINK: u32 = 0x0000_0015;
    pub const RESPONSE: u32 = 0x8000_0000;
}

/// Optional parameters (5.3.2).
mod tag {
    pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    pub const MESSAGE_PAYLOAD: u16 = 0x0424;
    pub const MESSAGE_STATE: u16 = 0x0427;
}

/// What is wrong with a stream of PDUs. There is no way to find the next one, so the connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A PDU says that it is shorter than its own header.
    TooShort(u32),
    /// A PDU says that it is longer than [`MAX_PDU`].
    TooLong(u32),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort(length) => {
                write!(f, "a PDU that says to have {length} bytes has no room for its header")
            }
            Self::TooLong(length) => write!(f, "a PDU of {length} bytes is longer than {MAX_PDU}"),
        }
    }
}

/// One PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdu {
    /// One of [`command`], or another.
    pub command: u32,
    /// `command_status`; 0 in requests.
    pub status: u32,
    /// What a response shares with its request.
    pub sequence: u32,
    /// The rest.
    pub body: Vec<u8>,
}

impl Pdu {
    /// A request.
    #[must_use]
    pub fn new(command: u32, sequence: u32, body: Vec<u8>) -> Self {
        Self { command, status: 0, sequence, body }
    }

    /// The response to this request, with a body of nothing but an empty `message_id` where the request is a message.
    #[must_use]
    pub fn response(&self, status: u32) -> Self {
        let body = if self.command == command::DELIVER_SM { vec![0] } else { Vec::new() };
        Self { command: self.command | command::RESPONSE, status, sequence: self.sequence, body }
    }

    /// Appends its bytes.
    pub fn write(&self, to: &mut Vec<u8>) {
        let length =
            u32::try_from(HEADER + self.body.len()).expect("a PDU of this agent is far smaller than 4 GiB");
        for word in [length, self.command, self.status, self.sequence] {
            to.extend_from_slice(&word.to_be_bytes());
        }
        to.extend_from_slice(&self.body);
    }
}

/// The PDUs of a stream, from bytes as they come.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    at: usize,
}

impl Frames {
    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.at);
        self.at = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole PDU, if it is there.
    ///
    /// # Errors
    /// When its length makes no sense; nothing behind it can be read.
    pub fn next(&mut self) -> Result<Option<Pdu>, Broken> {
        let left = &self.bytes[self.at..];
        let word =
            |n: usize| left.get(n * 4..n * 4 + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
        let Some(length) = word(0) else { return Ok(None) };
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size < HEADER {
            return Err(Broken::TooShort(length));
        }
        if size > MAX_PDU {
            return Err(Broken::TooLong(length));
        }
        let (Some(command), Some(status), Some(sequence), Some(body)) =
            (word(1), word(2), word(3), left.get(HEADER..size))
        else {
            return Ok(None);
        };
        let pdu = Pdu { command, status, sequence, body: body.to_owned() };
        self.at += size;
        Ok(Some(pdu))
    }
}

/// Type of number and numbering plan (5.2.5, 5.2.6) with the address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// `ton`.
    pub ton: u8,
    /// `npi`.
    pub npi: u8,
    /// Without `+`.
    pub address: String,
}

/// What is sent by `bind_transceiver` (4.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// `system_id`.
    pub system_id: &'a str,
    /// `password`.
    pub password: &'a str,
    /// `system_type`.
    pub system_type: &'a str,
}

impl Bind<'_> {
    /// Its body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for text in [self.system_id, self.password, self.system_type] {
            put_text(&mut body, text);
        }
        // Version 3.4; no opinion about addresses.
        body.extend_from_slice(&[0x34, 0, 0, 0]);
        body
    }
}

/// A short message: `submit_sm` (4.4.1) and `deliver_sm` (4.6.1) have the same fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Who sends it.
    pub source: Address,
    /// Who gets it.
    pub destination: Address,
    /// `esm_class`: mode, type, and whether the data begins with a header.
    pub esm_class: u8,
    /// `registered_delivery`.
    pub registered_delivery: u8,
    /// `data_coding`.
    pub data_coding: u8,
    /// `short_message`, or `message_payload` where that is there.
    pub data: Vec<u8>,
    /// The data stands in `message_payload`.
    pub payload: bool,
    /// `receipted_message_id`.
    pub receipted_id: Option<String>,
    /// `message_state`.
    pub state: Option<u8>,
}

/// `esm_class`: the data begins with a header (UDHI).
pub const HAS_HEADER: u8 = 0x40;
/// `esm_class` of `deliver_sm`: the bits that tell the type.
const TYPE: u8 = 0x3C;

impl Message {
    /// Whether it is a receipt, not a message of a person (5.2.12): a delivery receipt or an intermediate notification.
    #[must_use]
    pub fn is_receipt(&self) -> bool {
        matches!(self.esm_class & TYPE, 0x04 | 0x20)
    }

    /// Its body.
    ///
    /// # Panics
    /// When `short_message` is to hold more than 254 bytes, or `message_payload` more than 64 KiB; the settings say otherwise.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = vec![0];
        for Address { ton, npi, address } in [&self.source, &self.destination] {
            body.extend_from_slice(&[*ton, *npi]);
            put_text(&mut body, address);
        }
        // protocol_id, priority_flag, schedule_delivery_time, validity_period.
        body.extend_from_slice(&[self.esm_class, 0, 0, 0, 0]);
        // replace_if_present_flag before and sm_default_msg_id behind the coding.
        body.extend_from_slice(&[self.registered_delivery, 0, self.data_coding, 0]);
        if self.payload {
            body.push(0);
            put_tag(&mut body, tag::MESSAGE_PAYLOAD, &self.data);
        } else {
            body.push(u8::try_from(self.data.len()).expect("a segment has at most 160 bytes"));
            body.extend_from_slice(&self.data);
        }
        body
    }

    /// Reads a body. `None` when it ends too early or a field is longer than the standard allows.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        take_text(&mut rest, 6)?;
        let mut address = || {
            let (ton, npi) = (take(&mut rest)?, take(&mut rest)?);
            // 21 with its end in the standard; some centres put longer names there.
            Some(Address { ton, npi, address: take_text(&mut rest, 65)? })
        };
        let (source, destination) = (address()?, address()?);
        let esm_class = take(&mut rest)?;
        take(&mut rest)?;
        take(&mut rest)?;
        take_text(&mut rest, 17)?;
        take_text(&mut rest, 17)?;
        let registered_delivery = take(&mut rest)?;
        take(&mut rest)?;
        let data_coding = take(&mut rest)?;
        take(&mut rest)?;
        let length = usize::from(take(&mut rest)?);
        let (data, mut rest) = rest.split_at_checked(length)?;
        let mut message = Self {
            source,
            destination,
            esm_class,
            registered_delivery,
            data_coding,
            data: data.to_owned(),
            ..Self::default()
        };
        while let [t1, t2, l1, l2, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*l1, *l2]));
            // What is cut off is left alone: the message itself is whole.
            let Some((value, next)) = tail.split_at_checked(length) else { break };
            match u16::from_be_bytes([*t1, *t2]) {
                tag::MESSAGE_PAYLOAD => (message.data, message.payload) = (value.to_owned(), true),
                tag::RECEIPTED_MESSAGE_ID => message.receipted_id = Some(text_of(value)),
                tag::MESSAGE_STATE => message.state = value.first().copied(),
                _ => {}
            }
            rest = next;
        }
        Some(message)
    }
}

/// The `message_id` of a `submit_sm_resp`; empty where there is none.
#[must_use]
pub fn message_id(body: &[u8]) -> String {
    text_of(body)
}

/// Text as the standard's "C-Octet String", without what cannot stand in it.
fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(text.bytes().filter(|byte| *byte != 0));
    body.push(0);
}

fn put_tag(body: &mut Vec<u8>, tag: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).expect("a payload is bounded by the settings");
    body.extend_from_slice(&tag.to_be_bytes());
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(value);
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, behind) = rest.split_first()?;
    *rest = behind;
    Some(*first)
}

/// A text of at most `max` bytes with its end.
fn take_text(rest: &mut &[u8], max: usize) -> Option<String> {
    let end = rest.iter().take(max).position(|byte| *byte == 0)?;
    let (text, behind) = rest.split_at(end);
    *rest = &behind[1..];
    Some(text_of(text))
}

/// Bytes up to the first NUL, read as ASCII where they are.
fn text_of(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(pdu: &Pdu) -> Vec<u8> {
        let mut bytes = Vec::new();
        pdu.write(&mut bytes);
        bytes
    }

    #[test]
    fn a_bind_has_the_bytes_of_the_standard() {
        let bind = Bind { system_id: "SMPP3TEST", password: "secret08", system_type: "SUBMIT1" };
        let mut expected = vec![0, 0, 0, 0x2F, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1];
        expected.extend_from_slice(b"SMPP3TEST\0secret08\0SUBMIT1\0\x34\0\0\0");
        expected[3] = u8::try_from(expected.len()).unwrap();
        assert_eq!(bytes(&Pdu::new(command::BIND_TRANSCEIVER, 1, bind.body())), expected);
    }

    #[test]
    fn a_submission_has_its_fields_in_their_order() {
        let message = Message {
            source: Address { ton: 5, npi: 0, address: "Postern".to_owned() },
            destination: Address { ton: 1, npi: 1, address: "4930123".to_owned() },
            esm_class: HAS_HEADER,
            registered_delivery: 1,
            data_coding: 8,
            data: vec![5, 0, 3, 7, 2, 1, 0, 65],
            ..Message::default()
        };
        let expected =
            b"\0\x05\0Postern\0\x01\x014930123\0\x40\0\0\0\0\x01\0\x08\0\x08\x05\0\x03\x07\x02\x01\0A";
        assert_eq!(message.body(), expected);
        assert_eq!(Message::read(expected), Some(message.clone()));
        let payload = Message { payload: true, esm_class: 0, data: vec![b'x'; 1000], ..message };
        assert_eq!(Message::read(&payload.body()), Some(payload));
    }

    #[test]
    fn tags_of_a_receipt_are_read_and_broken_ones_left_alone() {
        let mut body = Message { esm_class: 0x04, ..Message::default() }.body();
        put_tag(&mut body, tag::RECEIPTED_MESSAGE_ID, b"M17\0");
        put_tag(&mut body, 0x1400, b"unknown");
        put_tag(&mut body, tag::MESSAGE_STATE, &[2]);
        body.extend_from_slice(&[0x04, 0x24, 0xFF, 0xFF, 1]);
        let read = Message::read(&body).unwrap();
        assert!(read.is_receipt());
        assert_eq!((read.receipted_id.as_deref(), read.state, read.data.len()), (Some("M17"), Some(2), 0));
    }

    #[test]
    fn a_length_that_makes_no_sense_ends_the_stream_before_anything_is_kept() {
        for (length, broken) in [
            (0_u32, Broken::TooShort(0)),
            (15, Broken::TooShort(15)),
            (70_001, Broken::TooLong(70_001)),
            (u32::MAX, Broken::TooLong(u32::MAX)),
        ] {
            let mut frames = Frames::default();
            frames.push(&length.to_be_bytes());
            assert_eq!(frames.next(), Err(broken));
        }
    }

    proptest! {
        #[test]
        fn pdus_come_back_however_the_stream_is_cut(
            pdus in proptest::collection::vec((any::<u32>(), any::<u32>(), any::<u32>(), any::<Vec<u8>>()), 0..6),
            step in 1_usize..40,
        ) {
            let pdus: Vec<_> = pdus.into_iter()
                .map(|(command, status, sequence, body)| Pdu { command, status, sequence, body }).collect();
            let stream: Vec<u8> = pdus.iter().flat_map(bytes).collect();
            let (mut frames, mut read) = (Frames::default(), Vec::new());
            for piece in stream.chunks(step) {
                frames.push(piece);
                while let Some(pdu) = frames.next().unwrap() {
                    read.push(pdu);
                }
            }
            prop_assert_eq!(read, pdus);
        }

        #[test]
        fn no_bytes_are_too_odd(stream: Vec<u8>, body: Vec<u8>) {
            let mut frames = Frames::default();
            frames.push(&stream);
            let mut taken = 0;
            while let Ok(Some(pdu)) = frames.next() {
                taken += HEADER + pdu.body.len();
            }
            prop_assert!(taken <= stream.len());
            if let Some(message) = Message::read(&body) {
                prop_assert!(message.data.len() <= body.len());
            }
        }

        #[test]
        fn a_message_cut_anywhere_is_none_or_smaller(cut in 0_usize..80) {
            let message = Message { data: b"hello".to_vec(), ..Message::default() };
            let body = message.body();
            let cut = cut.min(body.len());
            prop_assert_eq!(Message::read(&body[..cut]).is_some(), cut == body.len());
        }
    }
}
