//! A second version, for tests alone: what a version looks like that is served beside the newest one.

#![allow(clippy::all, clippy::pedantic, reason = "half of it is generated")]

use std::time::Instant;

use wasmtime::component::{HasSelf, InstancePre, Linker, Resource};
use wasmtime::{Result, Store, StoreContextMut};

use super::functions::{functions, there};
use super::{Call, Contract, Guest, Load, imports};
use crate::Interfaces;
use crate::bindings::exported::{agent::Description, agent::Report, callback, probe, session};
use crate::bindings::imported;
use crate::bindings::imported::types::{NextHop, Receipt, Refusal};
use crate::item::ItemResource;
use crate::state::State;

wasmtime::component::bindgen!({
    path: "tests/contract/0.2.0-test",
    world: "delivery-agent-full",
    imports: {
        "postern:delivery-agent/inbound.submit": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    // What did not change, or only got more functions, is the same Rust code for both versions.
    with: {
        "postern:delivery-agent/types": crate::bindings::imported::types,
        "postern:delivery-agent/mail": crate::bindings::imported::mail,
        "postern:delivery-agent/host": crate::bindings::imported::host,
        "postern:delivery-agent/http": crate::bindings::imported::http,
        "postern:delivery-agent/tcp": crate::bindings::imported::tcp,
        "postern:delivery-agent/state": crate::bindings::imported::state,
    },
});

use exports::postern::delivery_agent as exported;
use postern::delivery_agent::inbound;

pub(super) struct Second;

impl Contract for Second {
    fn version(&self) -> &'static str {
        "0.2.0-test"
    }

    fn link(&self, linker: &mut Linker<State>) -> Result<()> {
        let version = self.version();
        imports::types(linker, version)?;
        imports::mail(linker, version)?;
        imports::host(linker, version)?;
        imports::http(linker, version)?;
        imports::tcp(linker, version)?;
        imports::state(linker, version)?;
        inbound::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
        // What is new.
        imports::interface(linker, "host", version)?
            .func_wrap("contract", move |_: StoreContextMut<'_, State>, ()| Ok((version.to_owned(),)))
    }

    fn find(&self, component: &InstancePre<State>, has: Interfaces) -> Result<Load> {
        Functions::find(component, has)
    }
}

impl inbound::Host for State {
    /// The changed record, made into the one that the policy layer knows.
    async fn submit(&mut self, said: inbound::Submission) -> Result<Result<String, String>> {
        let inbound::Submission { remote_id, reverse_path, recipients, content, received_at: _ } = said;
        let said = imported::inbound::Submission { remote_id, reverse_path, recipients, content };
        imported::inbound::Host::submit(self, said).await
    }
}

functions!(exported: batch, session, receipts, callback, probe);

impl From<exported::agent::Report> for Report {
    fn from(said: exported::agent::Report) -> Self {
        Self { outcomes: said.outcomes, receipts: said.receipts, refusal: said.refusal }
    }
}

impl Guest for Functions {
    fn describe<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Description> {
        Box::pin(async {
            let exported::agent::Description { name, version, protocol, accepts, max_size } =
                self.agent.call_describe(store).await?;
            Ok(Description { name, version, protocol, accepts, max_size })
        })
    }

    fn open_connection<'a>(
        &'a self,
        store: &'a mut Store<State>,
        hop: &'a NextHop,
    ) -> Call<'a, Result<String, Refusal>> {
        Box::pin(self.agent.call_open_connection(store, hop))
    }

    fn deliver<'a>(
        &'a self,
        store: &'a mut Store<State>,
        item: Resource<ItemResource>,
    ) -> Call<'a, Result<Report, String>> {
        Box::pin(async {
            let left = store.data().outbound.deadline().saturating_duration_since(Instant::now());
            let left = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            let said = self.agent.call_deliver(&mut *store, item, left).await?;
            Ok(said.map(|said| {
                said.remark.iter().for_each(|remark| store.data().log.remark(remark));
                said.into()
            }))
        })
    }

    fn close_connection<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Result<(), String>> {
        Box::pin(self.agent.call_close_connection(store))
    }

    fn deliver_batch<'a>(
        &'a self,
        store: &'a mut Store<State>,
        items: &'a [Resource<ItemResource>],
    ) -> Call<'a, Result<Vec<Report>, String>> {
        Box::pin(async {
            let said = there(self.batch.as_ref())?.call_deliver_batch(store, items).await?;
            Ok(said.map(|reports| reports.into_iter().map(Into::into).collect()))
        })
    }

    fn tick<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Result<session::Next, Refusal>> {
        Box::pin(async {
            let said = there(self.session.as_ref())?.call_tick(store).await?;
            Ok(said.map(|n| session::Next { receipts: n.receipts, tick_after_ms: n.tick_after_ms }))
        })
    }

    fn poll<'a>(
        &'a self,
        store: &'a mut Store<State>,
        ids: &'a [String],
    ) -> Call<'a, Result<Vec<Receipt>, String>> {
        Box::pin(async { there(self.receipts.as_ref())?.call_poll(store, ids).await })
    }

    fn handle<'a>(
        &'a self,
        store: &'a mut Store<State>,
        request: &'a callback::Request,
    ) -> Call<'a, Result<callback::Reply, String>> {
        Box::pin(async {
            let callback::Request { method, path, query, headers, body } = request.clone();
            let request = exported::callback::Request { method, path, query, headers, body };
            let said = there(self.callback.as_ref())?.call_handle(store, &request).await?;
            Ok(said.map(|exported::callback::Reply { status, headers, body, receipts }| callback::Reply {
                status,
                headers,
                body,
                receipts,
            }))
        })
    }

    fn did_it_arrive<'a>(
        &'a self,
        store: &'a mut Store<State>,
        key: &'a str,
    ) -> Call<'a, Result<probe::Answer, String>> {
        use exported::probe::Answer;
        Box::pin(async {
            let said = there(self.probe.as_ref())?.call_did_it_arrive(store, key).await?;
            Ok(said.map(|answer| match answer {
                Answer::NeverSeen => probe::Answer::NeverSeen,
                Answer::Known(outcome) => probe::Answer::Known(outcome),
                Answer::CannotTell => probe::Answer::CannotTell,
            }))
        })
    }
}
