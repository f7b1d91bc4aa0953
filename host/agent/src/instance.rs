//! Instance: one live guest with its store, and the bracket around every call of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store, UpdateDeadline};

use crate::Interfaces;
use crate::contract::{self, Guest};
use crate::fault::{Fault, Phase};
use crate::limits::{Limit, Limits};
use crate::recording::{CutOff, Tape};
use crate::size::Size;
use crate::state::{Shared, State};

/// A component, linked and with its exports found.
pub(crate) struct Prepared {
    pub(crate) pre: InstancePre<State>,
    /// How its functions are called, in the version of the contract that it was built for.
    pub(crate) load: contract::Load,
    /// The optional interfaces that it has.
    pub(crate) interfaces: Interfaces,
    pub(crate) size: Size,
}

/// One live guest. Dropping it frees everything that it had.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) guest: Box<dyn Guest>,
    pub(crate) interfaces: Interfaces,
    shared: Arc<Shared>,
    /// What the time of its calls is called: the deadline of the agent's description, or of everything else.
    deadline: Limit,
    _slot: OwnedSemaphorePermit,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shared.stats.instance_gone();
    }
}

impl Instance {
    /// Makes an instance. The guest's start code runs within the limits of a call.
    pub(crate) async fn start(
        engine: &Engine,
        prepared: &Prepared,
        shared: &Arc<Shared>,
        slot: OwnedSemaphorePermit,
        limit: Limit,
        tape: Tape,
    ) -> Result<Self, Fault> {
        let mut store = new_store(engine, shared);
        store.data_mut().set_tape(tape);
        let now = Instant::now();
        let deadline = now + time(&shared.limits, limit);
        store.data_mut().begin_call(Phase::Start, now, deadline);
        let made = tokio::time::timeout_at(deadline.into(), async {
            let instance = prepared.pre.instantiate_async(&mut store).await?;
            (prepared.load)(&mut store, &instance)
        })
        .await;
        store.data_mut().end_call();
        let guest = match made {
            Ok(Ok(made)) => made,
            Ok(Err(error)) => {
                return Err(ended(shared, Fault::of(Phase::Start, &error, store.data()), Some(&error)));
            }
            Err(_) => {
                return Err(ended(shared, Fault::deadline(Phase::Start, limit, &store.data().log), None));
            }
        };
        shared.stats.instance_made();
        let (shared, interfaces) = (shared.clone(), prepared.interfaces);
        Ok(Self { store, guest, interfaces, shared, deadline: limit, _slot: slot })
    }

    /// Starts the allowance of a call and gives the moment when it must be done.
    pub(crate) fn begin(&mut self, phase: Phase) -> tokio::time::Instant {
        let now = Instant::now();
        let deadline = now + time(&self.shared.limits, self.deadline(phase));
        // A store that is used again would else yield at once, for the epochs since its last call.
        self.store.set_epoch_deadline(1);
        self.store.data_mut().begin_call(phase, now, deadline);
        deadline.into()
    }

    /// Ends a call. After a fault the instance must not be called again.
    pub(crate) fn end<R>(
        &mut self,
        phase: Phase,
        called: Result<wasmtime::Result<R>, tokio::time::error::Elapsed>,
    ) -> Result<R, Fault> {
        self.store.data_mut().end_call();
        match called {
            Ok(Ok(result)) => Ok(result),
            // In a recording this is where the deadline came.
            Ok(Err(error)) if error.is::<CutOff>() => {
                let fault = Fault::deadline(phase, self.deadline(phase), &self.store.data().log);
                Err(ended(&self.shared, fault, None))
            }
            Ok(Err(error)) => {
                Err(ended(&self.shared, Fault::of(phase, &error, self.store.data()), Some(&error)))
            }
            Err(_) => {
                let fault = Fault::deadline(phase, self.deadline(phase), &self.store.data().log);
                Err(ended(&self.shared, fault, None))
            }
        }
    }

    /// The limit that bounds a call: the shorter one of those for this phase and for any call.
    fn deadline(&self, phase: Phase) -> Limit {
        let limits = &self.shared.limits;
        let own = match phase {
            Phase::Open => Limit::OpenDeadline,
            Phase::Close => Limit::CloseDeadline,
            Phase::Tick => Limit::TickDeadline,
            Phase::PollReceipts => Limit::PollDeadline,
            Phase::Callback => Limit::CallbackDeadline,
            Phase::Probe => Limit::ProbeDeadline,
            Phase::Start | Phase::Describe | Phase::Deliver | Phase::DeliverBatch => return self.deadline,
        };
        if time(limits, own) < time(limits, self.deadline) { own } else { self.deadline }
    }
}

/// A limit of time.
fn time(limits: &Limits, limit: Limit) -> Duration {
    Duration::from_millis(limits.value(limit).unwrap_or_default())
}

fn ended(shared: &Shared, fault: Fault, error: Option<&wasmtime::Error>) -> Fault {
    shared.stats.fault(&fault);
    tracing::warn!(target: "postern::agent", connector = %shared.connector, "{fault}");
    if let Some(error) = error {
        // Function names only: the backtrace holds nothing of the message.
        let trace = postern_model::text::one_line(&format!("{error:?}"), 4096);
        tracing::debug!(target: "postern::agent", connector = %shared.connector, trace, "where it happened");
    }
    fault
}

fn new_store(engine: &Engine, shared: &Arc<Shared>) -> Store<State> {
    let mut store = Store::new(engine, State::new(shared.clone()));
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(shared.limits.host_call_bytes);
    store.set_max_component_handles(shared.limits.handles);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        store.data_mut().tick()?;
        // tokio's own yield lets timers and sockets have their turn before the guest goes on; the engine's would not.
        Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
    });
    store
}
