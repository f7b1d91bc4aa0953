//! The newest version, in whose words the crate thinks: nothing is translated.

use wasmtime::component::{InstancePre, Linker, Resource};
use wasmtime::{Result, Store};

use super::functions::{functions, there};
use super::{Call, Contract, Guest, Load, imports};
use crate::Interfaces;
use crate::bindings::exported::{self, agent::Description, agent::Report, callback, probe, session};
use crate::bindings::imported::types::{NextHop, Receipt, Refusal};
use crate::item::ItemResource;
use crate::state::State;

/// Serves the version that [`crate::bindings`] is made of.
pub(super) struct Newest;

impl Contract for Newest {
    fn version(&self) -> &'static str {
        "0.1.0"
    }

    fn link(&self, linker: &mut Linker<State>) -> Result<()> {
        imports::all(linker, self.version())
    }

    fn find(&self, component: &InstancePre<State>, has: Interfaces) -> Result<Load> {
        Functions::find(component, has)
    }
}

functions!(exported: batch, session, receipts, callback, probe);

impl Guest for Functions {
    fn describe<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Description> {
        Box::pin(self.agent.call_describe(store))
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
        Box::pin(self.agent.call_deliver(store, item))
    }

    fn close_connection<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Result<(), String>> {
        Box::pin(self.agent.call_close_connection(store))
    }

    fn deliver_batch<'a>(
        &'a self,
        store: &'a mut Store<State>,
        items: &'a [Resource<ItemResource>],
    ) -> Call<'a, Result<Vec<Report>, String>> {
        Box::pin(async { there(self.batch.as_ref())?.call_deliver_batch(store, items).await })
    }

    fn tick<'a>(&'a self, store: &'a mut Store<State>) -> Call<'a, Result<session::Next, Refusal>> {
        Box::pin(async { there(self.session.as_ref())?.call_tick(store).await })
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
        Box::pin(async { there(self.callback.as_ref())?.call_handle(store, request).await })
    }

    fn did_it_arrive<'a>(
        &'a self,
        store: &'a mut Store<State>,
        key: &'a str,
    ) -> Call<'a, Result<probe::Answer, String>> {
        Box::pin(async { there(self.probe.as_ref())?.call_did_it_arrive(store, key).await })
    }
}
