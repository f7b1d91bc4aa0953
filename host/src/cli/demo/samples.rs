//! Sample: the mails that a demo sends, with what must become of each recipient.

use std::net::SocketAddr;

use bytes::Bytes;
use mail_parser::MessageParser;
use postern_model::{Content, text};
use postern_smtp::{
    Body, EnhancedCode, ForwardPath, MailParams, Notify, RcptParams, Reply, Ret, ReversePath,
};

use super::fax_service::{BUSY, GOOD, SLOW, UNKNOWN};
use crate::cli::CliError;
use crate::smtp_client::{ClientTimeouts, SmtpClient, SmtpClientError};

/// One mail.
pub struct Sample {
    /// What is special about it.
    pub about: &'static str,
    /// The reverse-path.
    pub sender: &'static str,
    /// The recipients.
    pub recipients: &'static [Expected],
    /// Whether the sender asks for success reports, with this envelope id (RFC 3461).
    pub envelope_id: Option<&'static str>,
    /// How the subject of the report begins that the sender must get.
    pub report: Option<&'static str>,
    content: &'static [u8],
}

/// A recipient and its fate.
pub struct Expected {
    /// As written in RCPT.
    pub address: &'static str,
    /// As tracking shows it.
    pub shown: &'static str,
    /// The event that decides it.
    pub fate: &'static str,
}

const fn to(address: &'static str, shown: &'static str, fate: &'static str) -> Expected {
    Expected { address, shown, fate }
}

const MARIA: &str = "maria@office.example";
const JO: &str = "jo@office.example";

/// The mails, in the order in which they are sent.
pub const SAMPLES: &[Sample] = &[
    Sample {
        about: "plain text to a fax number",
        sender: MARIA,
        recipients: &[to("+4930456@fax.example", GOOD, "deliver")],
        envelope_id: None,
        report: None,
        content: include_bytes!("samples/1-plain.eml"),
    },
    Sample {
        about: "a PDF attached, to a number that is busy at first",
        sender: JO,
        recipients: &[to("+4930123@fax.example", BUSY, "deliver")],
        envelope_id: None,
        report: None,
        content: include_bytes!("samples/2-attachment.eml"),
    },
    Sample {
        about: "UTF-8 in 8 bits, to the pager",
        sender: "coldstore@office.example",
        recipients: &[to("oncall@pager.example", "oncall@pager.example", "relay")],
        envelope_id: None,
        report: None,
        content: include_bytes!("samples/3-utf8.eml"),
    },
    Sample {
        about: "four recipients by three connectors; one number is wrong",
        sender: JO,
        recipients: &[
            to("+4930456@fax.example", GOOD, "deliver"),
            to("+4930999@fax.example", UNKNOWN, "fail"),
            to("ada@partner.example", "ada@partner.example", "relay"),
            to("oncall@pager.example", "oncall@pager.example", "relay"),
        ],
        envelope_id: None,
        report: Some("Not delivered"),
        content: include_bytes!("samples/4-several.eml"),
    },
    Sample {
        about: "its sender wants a report in any case (NOTIFY=SUCCESS,FAILURE)",
        sender: MARIA,
        recipients: &[to("+4930100@fax.example", SLOW, "deliver")],
        envelope_id: Some("contract-2026-31"),
        report: Some("Delivered"),
        content: include_bytes!("samples/5-receipt.eml"),
    },
];

/// A sample that the host has accepted.
pub struct Sent {
    /// Which.
    pub sample: &'static Sample,
    /// The id that the host gave it.
    pub id: String,
    /// The host's reply to the content.
    pub reply: String,
}

impl Sample {
    /// The subject, decoded.
    pub fn subject(&self) -> String {
        let message = MessageParser::default().parse_headers(self.content);
        let subject = message.as_ref().and_then(|m| m.subject()).unwrap_or("(no subject)");
        text::one_line(subject, 100)
    }

    /// Hands the mail to the host by SMTP.
    ///
    /// # Errors
    /// When the host cannot be reached or refuses anything.
    pub async fn send(&'static self, host: SocketAddr) -> Result<Sent, CliError> {
        let reply =
            self.converse(host).await.map_err(|error| CliError::failed(format!("SMTP: {error}")))??;
        let text = reply.text();
        let id = text.strip_prefix("queued as ").map(str::to_owned);
        let id = id.ok_or_else(|| CliError::failed(format!("the host gave no id: {}", words(&reply))))?;
        Ok(Sent { sample: self, id, reply: words(&reply) })
    }

    async fn converse(&self, host: SocketAddr) -> Result<Result<Reply, CliError>, SmtpClientError> {
        let (ip, timeouts) = (host.ip().to_string(), ClientTimeouts::default());
        let mut client = SmtpClient::connect(&ip, host.port(), "desk.office.example", timeouts).await?;
        let eight_bit = !self.content.is_ascii();
        let mail = MailParams {
            size: Some(self.content.len() as u64),
            body: eight_bit.then_some(Body::EightBit),
            ret: self.envelope_id.map(|_| Ret::Headers),
            envelope_id: self.envelope_id.map(str::to_owned),
        };
        let notify = self.envelope_id.map(|_| Notify { success: true, failure: true, delay: false });
        let sender: ReversePath = self.sender.parse().expect("the samples have proper senders");
        let mut reply = client.mail(&sender, &mail).await?;
        for recipient in self.recipients {
            if !reply.is_positive() {
                break;
            }
            let path: ForwardPath = recipient.address.parse().expect("the samples have proper recipients");
            reply = client.rcpt(&path, &RcptParams { notify, original: None }).await?;
        }
        if reply.is_positive() {
            let content = Content::from(Bytes::from_static(self.content));
            reply = client.content(b"", &content, false).await?;
        }
        client.quit().await;
        if reply.is_positive() {
            return Ok(Ok(reply));
        }
        Ok(Err(CliError::failed(format!("the host refused {:?}: {}", self.subject(), words(&reply)))))
    }
}

/// A reply as it came.
fn words(reply: &Reply) -> String {
    let status = reply.enhanced.map(|code: EnhancedCode| format!("{code} ")).unwrap_or_default();
    text::one_line(&format!("{} {status}{}", reply.code, reply.text()), 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_are_proper_mails_of_the_kinds_they_say() {
        for sample in SAMPLES {
            let message = MessageParser::default().parse(sample.content).unwrap();
            assert!(
                message.subject().is_some() && message.message_id().is_some() && message.date().is_some()
            );
            assert!(sample.sender.parse::<ReversePath>().is_ok());
            for recipient in sample.recipients {
                assert!(recipient.address.parse::<ForwardPath>().is_ok());
            }
        }
        let attachment = MessageParser::default().parse(SAMPLES[1].content).unwrap();
        assert!(attachment.attachment(0).unwrap().contents().starts_with(b"%PDF-"));
        assert!(!SAMPLES[2].content.is_ascii());
        assert_eq!(SAMPLES[2].subject(), "Kühlhaus 3: −12 °C");
    }

    #[test]
    fn every_kind_of_fate_is_shown() {
        let fates: Vec<&str> = SAMPLES.iter().flat_map(|s| s.recipients).map(|r| r.fate).collect();
        for fate in ["deliver", "relay", "fail"] {
            assert!(fates.contains(&fate), "{fate}");
        }
    }
}
