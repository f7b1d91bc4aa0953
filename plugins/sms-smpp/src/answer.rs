//! Answer: what a `command_status` (SMPP 3.4 5.1.3) means for a message and for its queue.

use postern_agent_sdk::{Deferral, Failure, Outcome, Refusal, Response, class};

use crate::settings::Settings;

/// What an answer to a submission says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is taken, under this id.
    Taken,
    /// It is not; this becomes of the recipient.
    Not(Outcome),
    /// It is not, and nothing else would be: the recipient is deferred, and the rest of the queue waits.
    Hold(Deferral),
}

/// The name that the standard has for a status.
#[must_use]
pub fn name(status: u32) -> &'static str {
    match status {
        0x00 => "ok",
        0x01 => "invalid message length",
        0x02 => "invalid command length",
        0x03 => "invalid command",
        0x04 => "incorrect bind status",
        0x05 => "already bound",
        0x08 => "system error",
        0x0A => "invalid source address",
        0x0B => "invalid destination address",
        0x0C => "invalid message id",
        0x0D => "bind failed",
        0x0E => "invalid password",
        0x0F => "invalid system id",
        0x14 => "message queue full",
        0x15 => "invalid service type",
        0x43 => "invalid esm_class",
        0x45 => "submission failed",
        0x48 => "invalid source TON",
        0x49 => "invalid source NPI",
        0x50 => "invalid destination TON",
        0x51 => "invalid destination NPI",
        0x53 => "invalid system type",
        0x58 => "throttled",
        0x64 => "temporary error of the receiver",
        0x65 => "permanent error of the receiver",
        0x66 => "rejected by the receiver",
        0x400..=0x4FF => "an error of the vendor's own",
        _ => "unknown error",
    }
}

/// The text about a status that people read.
fn told(status: u32) -> String {
    format!("the message centre answered {} ({status:#010x})", name(status))
}

/// Judges the status of a `submit_sm_resp` or of a `generic_nack`.
#[must_use]
pub fn judge(status: u32, settings: &Settings) -> Verdict {
    let text = told(status);
    let failed =
        |code, enhanced, class| Verdict::Not(Outcome::failed(Response::new(code, enhanced, &text), class));
    let deferred =
        |enhanced, class| Verdict::Not(Outcome::deferred(Response::new(451, enhanced, &text), class));
    let hold = |enhanced, class| Verdict::Hold(Deferral::new(Response::new(451, enhanced, &text), class));
    if status == 0 {
        return Verdict::Taken;
    }
    // Throttling comes first: no setting may make it fail a message.
    if matches!(status, 0x14 | 0x58) {
        let pause = Some(settings.throttle_pause_seconds);
        return Verdict::Hold(
            Deferral::new(Response::new(451, (4, 4, 5), &text), class::THROTTLED).retry_after(pause),
        );
    }
    if settings.permanent.contains(&status) {
        return failed(550, (5, 0, 0), class::UNSPECIFIED);
    }
    if settings.temporary.contains(&status) {
        return deferred((4, 0, 0), class::UNSPECIFIED);
    }
    match status {
        0x0B => failed(550, (5, 1, 1), class::INVALID_ADDRESS),
        0x01 => failed(552, (5, 3, 4), class::TOO_LARGE),
        0x65 | 0x66 => failed(550, (5, 7, 1), class::CONTENT_REJECTED),
        0x08 | 0x45 | 0x64 => deferred((4, 3, 0), class::SERVICE_UNAVAILABLE),
        // These are about this connector, not about the message: every other one would get the same.
        0x04 | 0x05 | 0x0D..=0x0F => hold((4, 7, 0), class::BLOCKED),
        0x0A | 0x15 | 0x43 | 0x48..=0x53 => hold((4, 3, 5), class::BLOCKED),
        0x400..=0x4FF => deferred((4, 0, 0), class::UNSPECIFIED),
        _ => deferred((4, 5, 0), class::PROTOCOL_ERROR),
    }
}

/// What a refused bind says about the queue. Where the credentials are wrong it is held until an operator has mended them.
#[must_use]
pub fn bind_refused(status: u32) -> Refusal {
    let text = format!("bind refused: {}", told(status));
    match status {
        0x0E | 0x0F => Refusal::FailQueue(Failure::new(Response::new(550, (5, 7, 8), &text), class::BLOCKED)),
        0x0D | 0x53 => {
            Refusal::DeferQueue(Deferral::new(Response::new(451, (4, 7, 0), &text), class::BLOCKED))
        }
        0x14 | 0x58 => {
            Refusal::DeferQueue(Deferral::new(Response::new(451, (4, 4, 5), &text), class::THROTTLED))
        }
        _ => Refusal::DeferQueue(Deferral::new(
            Response::new(451, (4, 3, 0), &text),
            class::SERVICE_UNAVAILABLE,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::settings;

    fn word(status: u32, more: &str) -> String {
        match judge(status, &settings(more)) {
            Verdict::Taken => "taken".to_owned(),
            Verdict::Not(Outcome::Failed(f)) => format!("failed {}", f.class),
            Verdict::Not(Outcome::Deferred(d)) => format!("deferred {}", d.class),
            Verdict::Hold(d) => format!("hold {}", d.class),
            Verdict::Not(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_status_means_what_the_table_of_the_readme_says() {
        for (status, expected) in [
            (0x00, "taken"),
            (0x0B, "failed invalid-address"),
            (0x01, "failed too-large"),
            (0x65, "failed content-rejected"),
            (0x66, "failed content-rejected"),
            (0x08, "deferred service-unavailable"),
            (0x45, "deferred service-unavailable"),
            (0x64, "deferred service-unavailable"),
            (0x14, "hold throttled"),
            (0x58, "hold throttled"),
            (0x0E, "hold blocked"),
            (0x0A, "hold blocked"),
            (0x43, "hold blocked"),
            (0x410, "deferred "),
            (0xFF, "deferred protocol-error"),
        ] {
            assert_eq!(word(status, ""), expected, "{status:#x}");
        }
    }

    #[test]
    fn a_setting_changes_what_a_status_means_but_throttling_never_fails_a_message() {
        assert_eq!(word(0x410, r#""permanent": [1040]"#), "failed ");
        assert_eq!(word(0x0B, r#""temporary": [11]"#), "deferred ");
        assert_eq!(word(0x58, r#""permanent": [88]"#), "hold throttled");
    }

    #[test]
    fn wrong_credentials_stop_the_queue_and_everything_else_is_tried_again() {
        for status in [0x0E, 0x0F] {
            assert!(matches!(bind_refused(status), Refusal::FailQueue(f) if f.response.status == (5, 7, 8)));
        }
        for status in [0x0D, 0x05, 0x08, 0x58, 0xFF] {
            assert!(matches!(bind_refused(status), Refusal::DeferQueue(_)), "{status:#x}");
        }
    }
}
