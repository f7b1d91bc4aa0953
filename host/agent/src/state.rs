//! State: what one instance's store holds, and the allowance of the call that is running.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postern_model::DeliveryRequest;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::WasiCtx;
use wasmtime_wasi_http::WasiHttpCtx;

use crate::directory::{Directories, DirectoryUse};
use crate::epoch::{EpochClock, Running};
use crate::fault::Phase;
use crate::http::HttpClient;
use crate::inbound::Inbound;
use crate::item::Item;
use crate::kept::{KeptUse, StateDoor};
use crate::log::AgentLog;
use crate::memory::MemoryLimiter;
use crate::outcome::Reported;
use crate::recording::Tape;
use crate::secret::Masks;
use crate::stats::Stats;
use crate::tcp::{TcpDoor, TcpUse};
use crate::views::ParseBudget;
use crate::wasi::{self, Outbound};
use crate::witness::Violation;
use crate::{Clocks, Limits, Secret};

/// What all instances of one agent share.
pub(crate) struct Shared {
    pub(crate) connector: Arc<str>,
    pub(crate) settings: String,
    pub(crate) secrets: Arc<BTreeMap<String, Secret>>,
    /// Keeps the secrets out of the log.
    pub(crate) masks: Arc<Masks>,
    pub(crate) limits: Limits,
    /// None where no HTTP is granted.
    pub(crate) http: Option<HttpClient>,
    /// None where no TCP is granted.
    pub(crate) tcp: Option<TcpDoor>,
    /// The granted folders, open.
    pub(crate) directories: Directories,
    /// What it may know of the time.
    pub(crate) clocks: Clocks,
    /// Whether it may have random numbers.
    pub(crate) random: bool,
    /// None where no state is granted.
    pub(crate) state: Option<StateDoor>,
    /// None where it may hand in no mail.
    pub(crate) inbound: Option<Arc<dyn Inbound>>,
    /// None where nobody may call back.
    pub(crate) callback_url: Option<String>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) parse_budget: ParseBudget,
    /// Interrupts the guests.
    pub(crate) clock: Arc<EpochClock>,
}

/// The guest ran longer than its limit.
#[derive(Debug, thiserror::Error)]
#[error("over its processor time")]
pub(crate) struct CpuOverrun;

/// What one instance's store holds.
pub(crate) struct State {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: AgentLog,
    pub(crate) memory: MemoryLimiter,
    pub(crate) outbound: Outbound,
    pub(crate) tcp: TcpUse,
    pub(crate) directories: DirectoryUse,
    pub(crate) kept: KeptUse,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    pub(crate) wasi_http: WasiHttpCtx,
    /// What lies below its calls of the host.
    pub(crate) tape: Tape,
    /// Epochs in which the guest ran during this call.
    ticks: u128,
    /// While a call is under way.
    running: Option<Running>,
    /// When this call began.
    began: Instant,
    /// The items of the running call. Their numbers are never used again, so a handle that the guest kept leads nowhere.
    items: Vec<(u32, Item)>,
    next_item: u32,
}

impl State {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let limits = &shared.limits;
        let masks = shared.masks.clone();
        let log = AgentLog::new(shared.connector.clone(), limits, shared.stats.clone(), masks);
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources);
        Self {
            memory: MemoryLimiter::new(limits, shared.stats.clone(), log.clone()),
            outbound: Outbound::new(shared.clone(), log.clone()),
            tcp: TcpUse::new(limits),
            directories: DirectoryUse::new(&shared, &log),
            kept: KeptUse::default(),
            table,
            wasi: wasi::closed_context(&log, limits),
            wasi_http: wasi::http_context(limits),
            tape: Tape::Off,
            ticks: 0,
            running: None,
            began: Instant::now(),
            items: Vec::new(),
            next_item: 1,
            log,
            shared,
        }
    }

    /// Starts the allowance of a call that begins now and must be done at `deadline`.
    pub(crate) fn begin_call(&mut self, phase: Phase, now: Instant, deadline: Instant) {
        self.ticks = 0;
        self.running = Some(self.shared.clock.enter());
        self.began = now;
        self.memory.forget();
        self.log.begin_call(phase);
        self.outbound.begin_call(deadline);
        self.tcp.begin_call();
        self.directories.begin_call();
        self.kept.discard();
        self.tape_begins(phase);
    }

    /// Ends it. A store that is dropped in a call ends it, too.
    pub(crate) fn end_call(&mut self) {
        self.running = None;
        self.log.end_call();
    }

    /// Counts an epoch in which the guest ran.
    pub(crate) fn tick(&mut self) -> Result<(), CpuOverrun> {
        self.ticks += 1;
        if self.shared.clock.every().as_nanos() * self.ticks > self.shared.limits.cpu.as_nanos() {
            return Err(CpuOverrun);
        }
        Ok(())
    }

    /// When the running call began.
    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Processor time of the running call, in whole epochs.
    pub(crate) fn cpu(&self) -> Duration {
        self.shared.clock.every().saturating_mul(u32::try_from(self.ticks).unwrap_or(u32::MAX))
    }

    /// Makes an item for the guest and gives its number.
    pub(crate) fn put_item(&mut self, request: &DeliveryRequest) -> u32 {
        let number = self.next_item;
        self.next_item = self.next_item.wrapping_add(1);
        self.items.push((number, Item::new(request)));
        number
    }

    /// Ends the items of the call and gives what was reported about each, in their order.
    pub(crate) fn take_items(&mut self) -> Vec<Reported> {
        self.items.drain(..).map(|(_, item)| item.into_reported()).collect()
    }

    /// The item with this number, if the call it belongs to still runs.
    pub(crate) fn item(&mut self, number: u32) -> wasmtime::Result<&mut Item> {
        let found = self.items.iter_mut().find(|(known, _)| *known == number);
        found.map(|(_, item)| item).ok_or_else(|| {
            let text = "an item was used after the call that it was handed to had returned";
            self.shared.stats.violation(Violation::ItemKept, text);
            wasmtime::Error::msg(text)
        })
    }
}
