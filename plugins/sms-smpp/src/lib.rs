//! The sms-smpp agent: sends short messages to a message centre over SMPP 3.4, and hears what became of them. Settings and
//! the meaning of each answer are in `README.md` beside this crate.

mod answer;
mod compose;
mod inbound;
mod link;
mod pdu;
mod receipt;
mod round;
mod settings;

use postern_agent_sdk::{
    Agent, Deferral, Description, Item, Next, NextHop, Receipt, Refusal, Report, Response, SessionAgent,
    class, log,
};

use link::{Gone, Link};
use receipt::Ids;
use round::Round;

pub use settings::Settings;

/// How long a session that is looked at listens, in milliseconds.
const LISTEN_MS: u32 = 20;
/// How often an idle session is looked at, in milliseconds: receipts arrive by themselves.
const IDLE_TICK_MS: u32 = 500;
/// The same while receipts are coming in.
const BUSY_TICK_MS: u32 = 100;
/// The most looks of one call, so that a far end that never stops talking cannot hold it.
const MAX_LOOKS: u32 = 50;

/// An open connection: one bound session, which is bound again where it is lost.
pub struct Smpp {
    settings: Settings,
    link: Option<Link>,
    ids: Ids,
}

impl Agent for Smpp {
    type Settings = Settings;

    fn describe() -> Description {
        Description::new("sms-smpp", env!("CARGO_PKG_VERSION"), "SMPP")
    }

    fn open(_hop: &NextHop, settings: Settings) -> Result<Self, Refusal> {
        settings.check().map_err(|text| {
            Refusal::DeferQueue(Deferral::new(Response::new(451, (4, 3, 5), &text), class::UNSPECIFIED))
        })?;
        let mut ids = Ids::new(settings.receipt_ids);
        let link = Some(Link::bind(&settings, &mut ids)?);
        Ok(Self { settings, link, ids })
    }

    fn label(&self) -> String {
        format!("{} as {}", self.settings.address, self.settings.system_id)
    }

    fn deliver(&mut self, item: &Item) -> Result<Report, String> {
        self.serve(&[item]).pop().ok_or("no report was made".to_owned())
    }

    fn close(mut self) -> Result<(), String> {
        let Some(link) = self.link.take() else { return Ok(()) };
        link.unbind(&self.settings, &mut self.ids).map_err(|gone| gone.to_string())
    }
}

impl SessionAgent for Smpp {
    fn deliver_batch(&mut self, items: &[Item]) -> Result<Vec<Report>, String> {
        Ok(self.serve(&items.iter().collect::<Vec<_>>()))
    }

    fn tick(&mut self) -> Result<Next, Refusal> {
        let link = self.live_link()?;
        let receipts = link.take_receipts();
        let tick_after_ms = if receipts.is_empty() { IDLE_TICK_MS } else { BUSY_TICK_MS };
        Ok(Next { receipts, tick_after_ms })
    }
}

impl Smpp {
    fn serve(&mut self, items: &[&Item]) -> Vec<Report> {
        let settings = self.settings.clone();
        let mut round = Round::new(items, &settings);
        let (receipts, refusal) = if round.has_work() { self.send(&mut round) } else { (Vec::new(), None) };
        let mut reports = round.reports(refusal);
        if let Some(first) = reports.first_mut() {
            first.receipts = receipts;
        }
        reports
    }

    /// Runs a round over the session. The receipts that came meanwhile, and what it says about the queue that there is none.
    fn send(&mut self, round: &mut Round<'_>) -> (Vec<Receipt>, Option<Refusal>) {
        if let Err(refusal) = self.live_link() {
            round.refuse(match &refusal {
                Refusal::DeferQueue(deferral) => deferral.clone(),
                Refusal::FailQueue(failure) => Deferral::new(&*failure.response.text, &failure.class),
            });
            return (Vec::new(), Some(refusal));
        }
        let Some(mut link) = self.link.take() else { return (Vec::new(), None) };
        let ended = round.run(&mut link, &mut self.ids);
        let receipts = link.take_receipts();
        // A session that is over is not kept: an answer that comes late would be taken for one to something else.
        self.link = ended.is_ok().then_some(link);
        (receipts, None)
    }

    /// The session, after what has arrived meanwhile; where it is over, a new one.
    fn live_link(&mut self) -> Result<&mut Link, Refusal> {
        if let Err(gone) = self.look() {
            log::info(&format!("the session is bound again: {gone}"));
            self.link = None;
        }
        let link = match self.link.take() {
            Some(link) => link,
            None => Link::bind(&self.settings, &mut self.ids)?,
        };
        Ok(self.link.insert(link))
    }

    /// Hears what has arrived, and keeps the session alive.
    fn look(&mut self) -> Result<(), Gone> {
        let Some(link) = &mut self.link else { return Ok(()) };
        link.acknowledge(&self.settings)?;
        for _ in 0..MAX_LOOKS {
            let before = link.heard_bytes();
            link.hear(LISTEN_MS, &self.settings, &mut self.ids)?;
            if link.heard_bytes() == before {
                break;
            }
        }
        link.keep_alive(&self.settings)
    }
}

postern_agent_session::export_session_agent!(Smpp);

#[cfg(test)]
mod tests;
