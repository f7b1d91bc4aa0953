//! Smsc: a message centre that speaks SMPP 3.4 badly on demand. It shares nothing with the agent that it is to try.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Commands (SMPP 3.4 5.1.2.1) with the bit of responses.
const BIND: u32 = 9;
const SUBMIT: u32 = 4;
const DELIVER: u32 = 5;
const UNBIND: u32 = 6;
const ENQUIRE: u32 = 0x15;
const RESPONSE: u32 = 0x8000_0000;
/// The most that a PDU may have, in bytes.
const MAX_PDU: u32 = 70_000;
/// "Throttled".
const THROTTLED: u32 = 0x58;
/// The letters of GSM 03.38 by their septets, and those behind an escape.
const LETTERS: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const ESCAPED: [(u8, char); 9] = [
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// What goes wrong. Counts are those of the whole run, over all connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// `command_status` of every answer to a bind.
    bind_status: u32,
    /// `command_status` of the first `status_times` submissions.
    status: u32,
    status_times: u32,
    /// So many submissions are throttled.
    throttle: u32,
    /// Pause before an answer to a submission.
    delay_ms: u64,
    /// Where the connection is cut, `cut_times` times.
    cut: Option<Cut>,
    cut_times: u32,
    receipt: Fate,
    receipt_order: Order,
    receipt_delay_ms: u64,
    receipt_ids: Base,
    /// What people send after each bind.
    incoming: Vec<String>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            bind_status: 0,
            status: 0x08,
            status_times: 0,
            throttle: 0,
            delay_ms: 0,
            cut: None,
            cut_times: 1,
            receipt: Fate::Delivered,
            receipt_order: Order::Late,
            receipt_delay_ms: 50,
            receipt_ids: Base::Same,
            incoming: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Cut {
    /// As soon as it is there.
    Connect,
    /// Instead of an answer to a bind.
    Bind,
    /// Instead of an answer to a submission, which is not taken.
    Submit,
    /// The same, but the message is taken.
    Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fate {
    Delivered,
    Failed,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    Late,
    Early,
    Twice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Base {
    /// As in the answer, which is hexadecimal, and in a tag as well.
    Same,
    /// In decimal, in the text alone.
    Decimal,
    /// Another one.
    Wrong,
}

/// What all connections share.
struct Centre {
    script: Script,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    taken: u32,
    throttled: u32,
    refused: u32,
    cut: u32,
    sequence: u32,
}

impl Centre {
    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the connection is to be cut here.
    fn cuts(&self, here: Cut) -> bool {
        let mut counts = self.counts();
        let cuts = self.script.cut == Some(here) && counts.cut < self.script.cut_times;
        counts.cut += u32::from(cuts);
        cuts
    }

    /// The status of the next submission.
    fn status(&self) -> u32 {
        let mut counts = self.counts();
        if counts.throttled < self.script.throttle {
            counts.throttled += 1;
            THROTTLED
        } else if counts.refused < self.script.status_times {
            counts.refused += 1;
            self.script.status
        } else {
            0
        }
    }
}

/// Listens on loopback, and serves until the process ends.
///
/// # Errors
/// When it cannot listen.
pub async fn serve(port: u16, script: Script) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    tell("listening", &json!({ "port": listener.local_addr()?.port() }));
    let centre = Arc::new(Centre { script, counts: Mutex::default() });
    loop {
        let (stream, _) = listener.accept().await?;
        let centre = centre.clone();
        tokio::spawn(async move {
            // A connection that breaks is what this is for.
            let ended = connection(stream, &centre).await;
            tell("closed", &json!({ "reason": ended.err().map(|error| error.to_string()) }));
        });
    }
}

/// One line of JSON; whoever reads them may have gone.
fn tell(event: &str, more: &Value) {
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut line = json!({ "event": event, "at_ms": u64::try_from(at).unwrap_or(u64::MAX) });
    for (name, value) in more.as_object().into_iter().flatten() {
        line[name] = value.clone();
    }
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

struct Pdu {
    command: u32,
    status: u32,
    sequence: u32,
    body: Vec<u8>,
}

async fn read(stream: &mut OwnedReadHalf) -> io::Result<Pdu> {
    let length = stream.read_u32().await?;
    if !(16..=MAX_PDU).contains(&length) {
        return Err(io::Error::other(format!("a PDU of {length} bytes")));
    }
    let (command, status, sequence) =
        (stream.read_u32().await?, stream.read_u32().await?, stream.read_u32().await?);
    let mut body = vec![0; length as usize - 16];
    stream.read_exact(&mut body).await?;
    Ok(Pdu { command, status, sequence, body })
}

fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("what is written here is small");
    let mut bytes: Vec<u8> =
        [length, command, status, sequence].into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend_from_slice(body);
    bytes
}

async fn connection(stream: TcpStream, centre: &Arc<Centre>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut incoming, mut outgoing) = stream.into_split();
    if centre.cuts(Cut::Connect) {
        return Err(io::Error::other("cut at the connect"));
    }
    let (sender, mut to_send) = unbounded_channel::<Vec<u8>>();
    let writer = async move {
        while let Some(bytes) = to_send.recv().await {
            outgoing.write_all(&bytes).await?;
        }
        Ok(())
    };
    let reader = async move {
        loop {
            let request = read(&mut incoming).await?;
            match request.command {
                BIND => {
                    let mut rest = &*request.body;
                    let (system_id, password) = (text(&mut rest), text(&mut rest));
                    tell("bind", &json!({ "system_id": system_id, "password": password }));
                    if centre.cuts(Cut::Bind) {
                        return Err(io::Error::other("cut at the bind"));
                    }
                    let status = centre.script.bind_status;
                    let _ = sender.send(pdu(BIND | RESPONSE, status, request.sequence, b"simulator\0"));
                    if status == 0 {
                        centre.script.incoming.iter().for_each(|text| people(centre, &sender, text));
                    }
                }
                SUBMIT => submitted(centre, &sender, &request)?,
                ENQUIRE | UNBIND => {
                    tell(if request.command == UNBIND { "unbind" } else { "enquire_link" }, &json!({}));
                    let _ = sender.send(pdu(request.command | RESPONSE, 0, request.sequence, &[]));
                }
                answer if answer == DELIVER | RESPONSE => {
                    let what =
                        if request.sequence.is_multiple_of(2) { "receipt_taken" } else { "incoming_taken" };
                    tell(what, &json!({ "status": request.status }));
                }
                _ => {}
            }
        }
    };
    // A cut ends both halves: what was to be said is not said any more.
    tokio::select! {
        ended = reader => ended,
        ended = writer => ended,
    }
}

fn submitted(centre: &Arc<Centre>, sender: &UnboundedSender<Vec<u8>>, request: &Pdu) -> io::Result<()> {
    let Some(message) = Submission::read(&request.body) else {
        let _ = sender.send(pdu(SUBMIT | RESPONSE, 0x02, request.sequence, &[]));
        return Ok(());
    };
    tell("submit", &message.told());
    if centre.cuts(Cut::Submit) {
        return Err(io::Error::other("cut at a submission"));
    }
    let status = centre.status();
    if status != 0 {
        let _ = sender.send(pdu(SUBMIT | RESPONSE, status, request.sequence, &[]));
        return Ok(());
    }
    let number = {
        let mut counts = centre.counts();
        counts.taken += 1;
        // Decimal and hexadecimal differ from the first on.
        0xA0 + counts.taken
    };
    if centre.cuts(Cut::Answer) {
        return Err(io::Error::other("cut before an answer"));
    }
    let (centre, sender, sequence) = (centre.clone(), sender.clone(), request.sequence);
    tokio::spawn(async move {
        let Script { receipt_order, delay_ms, receipt_delay_ms, .. } = centre.script;
        tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        if receipt_order == Order::Early {
            receipt(&centre, &sender, &message, number);
        }
        let _ = sender.send(pdu(SUBMIT | RESPONSE, 0, sequence, format!("{number:08X}\0").as_bytes()));
        let times = match receipt_order {
            Order::Early => 0,
            Order::Late => 1,
            Order::Twice => 2,
        };
        for _ in 0..times {
            tokio::time::sleep(Duration::from_millis(receipt_delay_ms)).await;
            receipt(&centre, &sender, &message, number);
        }
    });
    Ok(())
}

/// Sends a receipt, with an even sequence number.
fn receipt(centre: &Centre, sender: &UnboundedSender<Vec<u8>>, message: &Submission, number: u32) {
    let (stat, count, error, state) = match centre.script.receipt {
        Fate::Delivered => ("DELIVRD", 1, "000", 2),
        Fate::Failed => ("UNDELIV", 0, "069", 5),
        Fate::None => return,
    };
    let id = match centre.script.receipt_ids {
        Base::Same => format!("{number:08X}"),
        Base::Decimal => number.to_string(),
        Base::Wrong => format!("X{number}"),
    };
    let text = format!(
        "id:{id} sub:001 dlvrd:00{count} submit date:2511241200 done date:2511241201 stat:{stat} err:{error} text:"
    );
    let mut body = deliver(&message.to, &message.from, 0x04, text.as_bytes());
    if centre.script.receipt_ids == Base::Same {
        body.extend_from_slice(&[0x00, 0x1E, 0, 9]);
        body.extend_from_slice(format!("{id}\0").as_bytes());
        body.extend_from_slice(&[0x04, 0x27, 0, 1, state]);
    }
    let sequence = {
        let mut counts = centre.counts();
        counts.sequence += 2;
        counts.sequence
    };
    let _ = sender.send(pdu(DELIVER, 0, sequence, &body));
}

/// Sends what somebody wrote, with an odd sequence number.
fn people(centre: &Centre, sender: &UnboundedSender<Vec<u8>>, text: &str) {
    let sequence = {
        let mut counts = centre.counts();
        counts.sequence += 2;
        counts.sequence + 1
    };
    let text: Vec<u8> = text.bytes().take(160).collect();
    let _ = sender.send(pdu(DELIVER, 0, sequence, &deliver("4930999999", "80111", 0, &text)));
}

fn deliver(from: &str, to: &str, esm_class: u8, text: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 1, 1];
    body.extend_from_slice(from.as_bytes());
    body.extend_from_slice(&[0, 1, 1]);
    body.extend_from_slice(to.as_bytes());
    body.extend_from_slice(&[0, esm_class, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    body.extend_from_slice(&text[..text.len().min(usize::from(u8::MAX))]);
    body
}

/// What is read of a submission.
struct Submission {
    from: String,
    to: String,
    /// Total and number.
    segment: Option<(u8, u8)>,
    data_coding: u8,
    text: String,
}

impl Submission {
    fn read(body: &[u8]) -> Option<Self> {
        let mut rest = body;
        text(&mut rest);
        let mut address = || {
            rest = rest.get(2..)?;
            Some(text(&mut rest))
        };
        let (from, to) = (address()?, address()?);
        let esm_class = *rest.first()?;
        rest = rest.get(3..)?;
        text(&mut rest);
        text(&mut rest);
        let data_coding = *rest.get(2)?;
        let length = usize::from(*rest.get(4)?);
        let short = rest.get(5..5 + length)?;
        // `message_payload` is the only tag that this agent may send.
        let tags = &rest[5 + length..];
        let mut data = if let [0x04, 0x24, _, _, payload @ ..] = tags { payload } else { short };
        let mut segment = None;
        if esm_class & 0x40 != 0 {
            let header = data.get(..=usize::from(*data.first()?))?;
            let [_, .., total, number] = header else { return None };
            segment = Some((*total, *number));
            data = &data[header.len()..];
        }
        let text = if data_coding == 8 { utf16(data) } else { septets(data) };
        Some(Self { from, to, segment, data_coding, text })
    }

    fn told(&self) -> Value {
        let segment = self.segment.map(|(total, number)| json!([total, number]));
        json!({ "to": self.to, "from": self.from, "text": self.text, "segment": segment, "data_coding": self.data_coding })
    }
}

/// Takes a text that ends with NUL.
fn text(rest: &mut &[u8]) -> String {
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end]).into_owned();
    *rest = rest.get(end + 1..).unwrap_or_default();
    text
}

fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| u16::from(pair[0]) << 8 | pair.get(1).map_or(0, |b| u16::from(*b)))
        .collect();
    String::from_utf16_lossy(&units)
}

fn septets(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut escaped = false;
    for byte in bytes {
        if *byte == 0x1B {
            escaped = true;
            continue;
        }
        let behind = ESCAPED.iter().find(|(septet, _)| escaped && septet == byte).map(|(_, letter)| *letter);
        text.push(behind.or_else(|| LETTERS.chars().nth(usize::from(*byte))).unwrap_or('\u{FFFD}'));
        escaped = false;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_is_read_with_its_segment_and_its_letters() {
        let body =
            b"\0\x05\0Postern\0\x01\x014930123\0\x40\0\0\0\0\x01\0\0\0\x09\x05\0\x03\x07\x02\x01\x1b\x65\x7e";
        let read = Submission::read(body).unwrap();
        assert_eq!(
            (read.from.as_str(), read.to.as_str(), read.segment),
            ("Postern", "4930123", Some((2, 1)))
        );
        assert_eq!(read.text, "€ü");
        for end in 0..body.len() {
            assert!(Submission::read(&body[..end]).is_none(), "cut at {end}");
        }
    }

    #[test]
    fn a_script_with_a_word_that_it_does_not_know_is_refused() {
        assert!(toml::from_str::<Script>("throtle = 1").is_err());
        let script: Script = toml::from_str("throttle = 1\ncut = \"answer\"").unwrap();
        assert_eq!((script.throttle, script.cut), (1, Some(Cut::Answer)));
    }
}
