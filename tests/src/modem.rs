//! A simulated GSM modem on a pseudo-terminal, for the real programs that send through modems. It speaks as much AT
//! (3GPP TS 27.005, PDU mode) and as much of the SMS layer (TS 23.040) as they ask for.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::cli;
use crate::wait::eventually;

/// The digits that the network does not know: numbers that begin so are refused.
pub const UNKNOWN: &str = "999";
/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The number, without a plus.
    pub number: String,
    /// Whether a plus belongs before it.
    pub international: bool,
    /// Whether a status report was asked for.
    pub report: bool,
    /// The data coding scheme.
    pub coding: u8,
    /// The user data as it was packed.
    pub data: Vec<u8>,
}

impl Sent {
    /// The text of a message in UCS2, without a header of user data.
    #[must_use]
    pub fn ucs2(&self) -> String {
        let units: Vec<u16> =
            self.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    }

    /// The text of a message in the default alphabet, as far as that is ASCII.
    #[must_use]
    pub fn gsm7(&self) -> String {
        let (mut text, mut bits, mut count) = (String::new(), 0_u32, 0);
        for byte in &self.data {
            bits |= u32::from(*byte) << count;
            count += 8;
            while count >= 7 {
                text.push(char::from((bits & 0x7f) as u8));
                bits >>= 7;
                count -= 7;
            }
        }
        text.trim_end_matches('\0').to_owned()
    }
}

#[derive(Default)]
struct State {
    sent: Vec<Sent>,
    refused: usize,
    reference: u8,
    /// Status reports that were not fetched yet, by their places.
    reports: Vec<Option<String>>,
    /// The state that reports have (TP-Status).
    report_status: u8,
}

/// The modem. It is switched off when the value is dropped.
pub struct Modem {
    state: Arc<Mutex<State>>,
    terminal: Child,
}

impl Modem {
    /// Switches one on; programs open it at `link`. What makes the pseudo-terminal is compiled to beside it.
    ///
    /// # Panics
    /// When there is no pseudo-terminal, or no C compiler.
    #[must_use]
    pub fn start(link: &Path) -> Self {
        let (source, program) = (cli::root().join("tests/shims/terminal.c"), link.with_extension("terminal"));
        let compiled = Command::new("cc").arg("-o").args([&program, &source]).status();
        assert!(compiled.is_ok_and(|status| status.success()), "{} does not compile", source.display());
        let mut command = Command::new(&program);
        command.arg(link).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut terminal = command.spawn().expect("a program of our own");
        let (to, from) = (terminal.stdin.take().expect("piped"), terminal.stdout.take().expect("piped"));
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        thread::spawn(move || serve(from, to, &shared));
        eventually("a pseudo-terminal", || link.exists().then_some(()));
        Self { state, terminal }
    }

    /// What the status reports of later messages say (TP-Status); 0, received, at first.
    pub fn report_as(&self, status: u8) {
        lock(&self.state).report_status = status;
    }

    /// What was sent so far.
    #[must_use]
    pub fn sent(&self) -> Vec<Sent> {
        lock(&self.state).sent.clone()
    }

    /// How often the network refused a number.
    #[must_use]
    pub fn refused(&self) -> usize {
        lock(&self.state).refused
    }
}

impl Drop for Modem {
    fn drop(&mut self) {
        // Its thread ends with it.
        let _ = self.terminal.kill();
        let _ = self.terminal.wait();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut from: ChildStdout, mut to: ChildStdin, state: &Mutex<State>) {
    let (mut pending, mut piece) = (Vec::new(), [0; 512]);
    while let Ok(count @ 1..) = from.read(&mut piece) {
        pending.extend_from_slice(&piece[..count]);
        while let Some(end) = pending.iter().position(|byte| matches!(byte, b'\r' | 0x1a)) {
            let command: Vec<u8> = pending.drain(..=end).collect();
            let answer = answer(&command, &mut lock(state));
            if to.write_all(answer.as_bytes()).and_then(|()| to.flush()).is_err() {
                return;
            }
        }
    }
}

fn answer(command: &[u8], state: &mut State) -> String {
    let is_pdu = command.last() == Some(&0x1a);
    let text = String::from_utf8_lossy(command).trim_matches(['\r', '\n', '\u{1a}']).to_ascii_uppercase();
    if is_pdu {
        return submit(&text, state);
    }
    let ok = |lines: &str| format!("\r\n{lines}\r\n\r\nOK\r\n");
    let used = state.reports.iter().flatten().count();
    let place = |text: &str| text.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
    if text.starts_with("AT+CMGS=") {
        return "\r\n> ".to_owned();
    }
    if let Some(number) = text.strip_prefix("AT+CMGR=") {
        let report = place(number).and_then(|place| state.reports.get(place)).and_then(Option::as_ref);
        // The length leaves out the service centre, which is the first octet here.
        return report.map_or_else(
            || "\r\n+CMS ERROR: 321\r\n".to_owned(),
            |report| ok(&format!("+CMGR: 0,,{}\r\n{report}", report.len() / 2 - 1)),
        );
    }
    if let Some(number) = text.strip_prefix("AT+CMGD=") {
        let number = number.split(',').next().unwrap_or_default();
        if let Some(report) = place(number).and_then(|place| state.reports.get_mut(place)) {
            *report = None;
        }
        return "\r\nOK\r\n".to_owned();
    }
    match text.as_str() {
        "AT+CSQ" => ok("+CSQ: 20,0"),
        "AT+CREG?" => ok("+CREG: 2,1,\"0001\",\"0002\""),
        "AT+CPIN?" => ok("+CPIN: READY"),
        "AT+CIMI" => ok("262010000000001"),
        "AT+CGSN" | "AT+GSN" => ok("490154203237518"),
        "AT+CGMI" => ok("Postern"),
        "AT+CGMM" => ok("Simulator"),
        "AT+CGMR" => ok("1"),
        text if text.starts_with("AT+CPMS") => {
            let memory = format!("\"SM\",{used},50");
            let values = format!("{used},50");
            let is_question = text.ends_with('?');
            let one = if is_question { memory } else { values };
            ok(&format!("+CPMS: {one},{one},{one}"))
        }
        _ => "\r\nOK\r\n".to_owned(),
    }
}

/// Takes an SMS-SUBMIT (TS 23.040 section 9.2.2.2).
fn submit(hex: &str, state: &mut State) -> String {
    let octets: Vec<u8> =
        (0..hex.len() / 2).filter_map(|i| u8::from_str_radix(hex.get(2 * i..2 * i + 2)?, 16).ok()).collect();
    let Some(sent) = parse(&octets) else { return "\r\n+CMS ERROR: 304\r\n".to_owned() };
    if sent.number.starts_with(UNKNOWN) {
        state.refused += 1;
        return "\r\n+CMS ERROR: 28\r\n".to_owned();
    }
    state.reference = state.reference.wrapping_add(1);
    let reference = state.reference;
    if sent.report {
        let report = status_report(&sent, reference, state.report_status);
        match state.reports.iter_mut().find(|place| place.is_none()) {
            Some(free) => *free = Some(report),
            None => state.reports.push(Some(report)),
        }
    }
    state.sent.push(sent);
    format!("\r\n+CMGS: {reference}\r\n\r\nOK\r\n")
}

fn parse(octets: &[u8]) -> Option<Sent> {
    let pdu = octets.get(1 + usize::from(*octets.first()?)..)?;
    let (first, digits, kind) = (*pdu.first()?, usize::from(*pdu.get(2)?), *pdu.get(3)?);
    let rest = pdu.get(4..)?;
    let (address, rest) = rest.split_at_checked(digits.div_ceil(2))?;
    let number: String =
        address.iter().flat_map(|octet| [octet & 15, octet >> 4]).take(digits).map(digit).collect();
    // The validity has no octet, one, or seven.
    let validity = match first >> 3 & 3 {
        0 => 0,
        2 => 1,
        _ => 7,
    };
    let (coding, data) = (*rest.get(1)?, rest.get(3 + validity..)?);
    Some(Sent {
        number,
        international: kind >> 4 & 7 == 1,
        report: first & 0x20 != 0,
        coding,
        data: data.to_vec(),
    })
}

fn digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('?')
}

/// An SMS-STATUS-REPORT (TS 23.040 section 9.2.2.3) in hexadecimal, behind an empty service centre.
fn status_report(sent: &Sent, reference: u8, status: u8) -> String {
    // 2025-10-06 09:30:02, time zone 0, digits of each octet exchanged.
    const TIME: &str = "52016090032000";
    let mut digits = sent.number.clone();
    let length = digits.len();
    if length % 2 == 1 {
        digits.push('F');
    }
    let swapped: String =
        digits.as_bytes().chunks(2).flat_map(|pair| [char::from(pair[1]), char::from(pair[0])]).collect();
    let kind = if sent.international { "91" } else { "81" };
    let mut report = String::new();
    let _ = write!(report, "0006{reference:02X}{length:02X}{kind}{swapped}{TIME}{TIME}{status:02X}");
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_taken_apart_and_reported() {
        let mut state = State::default();
        // Report asked for, international 15551230001, "hello" in the default alphabet.
        let pdu = "0021000B915155210300F10000 05E8329BFD06".replace(' ', "");
        let told = answer(format!("{pdu}\u{1a}").as_bytes(), &mut state);
        assert_eq!(told, "\r\n+CMGS: 1\r\n\r\nOK\r\n");
        let sent = &state.sent[0];
        assert_eq!((sent.number.as_str(), sent.international, sent.report), ("15551230001", true, true));
        assert_eq!(sent.gsm7(), "hello");
        let report = answer(b"AT+CMGR=1\r", &mut state);
        assert!(report.contains("+CMGR: 0,,25\r\n0006010B915155210300F1"), "{report}");
        assert!(answer(b"AT+CPMS?\r", &mut state).contains("\"SM\",1,50"));
        answer(b"AT+CMGD=1\r", &mut state);
        assert!(answer(b"AT+CMGR=1\r", &mut state).contains("321"));
    }

    #[test]
    fn a_number_that_the_network_does_not_know_is_refused() {
        let mut state = State::default();
        let pdu = "002100049199 9900000568656C6C6F".replace(' ', "");
        assert_eq!(answer(format!("{pdu}\u{1a}").as_bytes(), &mut state), "\r\n+CMS ERROR: 28\r\n");
        assert_eq!((state.refused, state.sent.len()), (1, 0));
    }
}
