//! The `host` and `http` interfaces: what the guest may ask of its host beside the message.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::Level;
use wasmtime::Result;

use crate::Clocks;
use crate::bindings::imported::{host as wit, http};
use crate::log::Capability;
use crate::recording::{Asked, Taped, question};
use crate::state::State;
use crate::witness::Violation;

impl wit::Host for State {
    fn log(&mut self, level: wit::Level, text: String) -> Result<()> {
        let level = match level {
            wit::Level::Error => Level::ERROR,
            wit::Level::Warn => Level::WARN,
            wit::Level::Info => Level::INFO,
            wit::Level::Debug => Level::DEBUG,
            wit::Level::Trace => Level::TRACE,
        };
        self.log.line(level, &text);
        Ok(())
    }

    fn settings(&mut self) -> Result<String> {
        Ok(self.shared.settings.clone())
    }

    fn secret(&mut self, name: String) -> Result<Option<String>> {
        // Only whether there is one: in a recording its name stands in its place.
        let asked = self.ask::<bool>("host.secret", |masks| question([("name", name.write(masks))]))?;
        // Only granted secrets are in the map.
        let granted = self.shared.secrets.get(&name).map(|secret| secret.reveal().to_owned());
        let made_up = self.shared.stats.witness().and_then(|witness| witness.secret(&name));
        let secret = granted.or(made_up);
        if secret.is_none() {
            self.log.refused(Capability::Secret, &name, "this secret is not granted");
        }
        if let Asked::Live(note) = asked {
            self.answered(note, &secret.is_some());
        }
        Ok(secret)
    }

    fn now(&mut self) -> Result<(u32, u32)> {
        let coarse = self.is_clock_coarse("host.now")?;
        let note = match self.ask("host.now", |_| question([]))? {
            Asked::Known(now) => return Ok(now),
            Asked::Live(note) => note,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = if coarse { 0 } else { now.subsec_nanos() };
        let now = (u32::try_from(now.as_secs()).unwrap_or(u32::MAX), nanos);
        self.answered(note, &now);
        Ok(now)
    }

    fn random(&mut self, length: u32) -> Result<Vec<u8>> {
        self.may_be_random("host.random")?;
        let max = self.shared.limits.random_bytes;
        if length > max {
            // Fewer bytes than asked for might become a weak key.
            let text = format!("random: {length} bytes asked for, random_bytes = {max}");
            self.shared.stats.violation(Violation::Random, &text);
            return Err(wasmtime::Error::msg(text));
        }
        let note = match self.ask("host.random", |_| question([("length", length.into())]))? {
            Asked::Known(bytes) => return Ok(bytes),
            Asked::Live(note) => note,
        };
        let mut bytes = vec![0; length as usize];
        rustls::crypto::aws_lc_rs::default_provider()
            .secure_random
            .fill(&mut bytes)
            .map_err(|_| wasmtime::Error::msg("the system gave no random bytes"))?;
        self.answered(note, &bytes);
        Ok(bytes)
    }

    fn remaining_ms(&mut self) -> Result<u32> {
        let note = match self.ask("host.remaining-ms", |_| question([]))? {
            Asked::Known(left) => return Ok(left),
            Asked::Live(note) => note,
        };
        let left = self.outbound.deadline().saturating_duration_since(Instant::now());
        // What is left is a clock too. Without it no agent could keep to its deadline, so it is never taken away.
        let exact = self.shared.clocks == Clocks::Exact;
        let left = if exact { left.as_millis() } else { u128::from(left.as_secs()) * 1000 };
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        self.answered(note, &left);
        Ok(left)
    }

    fn callback_url(&mut self) -> Result<Option<String>> {
        Ok(self.shared.callback_url.clone())
    }
}

impl http::Host for State {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> Result<std::result::Result<http::Response, http::Fault>> {
        let asked = self.ask("http.send", |masks| {
            question([
                ("method", request.method.write(masks)),
                ("url", request.url.write(masks)),
                ("headers", request.headers.write(masks)),
                ("body", request.body.write(masks)),
                ("timeout_ms", request.timeout_ms.write(masks)),
            ])
        })?;
        let note = match asked {
            Asked::Known(answer) => return Ok(answer),
            Asked::Live(note) => note,
        };
        // What is behind the question mark may be nobody's business.
        let target = request.url.split('?').next().unwrap_or_default().to_owned();
        let answer = match self.outbound.next_request() {
            Ok(client) => client.send(request, self.outbound.patience()).await,
            Err(denied) => Err(denied.into()),
        };
        let answer = answer.map_err(|unsent| {
            unsent.limit.inspect(|limit| self.log.hit(*limit));
            if let http::Fault::Denied(why) = &unsent.fault {
                self.log.refused(Capability::Http, &target, why);
            }
            unsent.fault
        });
        self.answered(note, &answer);
        Ok(answer)
    }
}
