//! Component: the bindings. `batch` hands over the reports of the exported `agent`, so the three are one world, which
//! is none of the SDK's own; what is imported is that of the SDK. WebAssembly only.

use std::marker::PhantomData;

use postern_agent_sdk::component::base::postern::delivery_agent::{mail, types};
use postern_agent_sdk::component::{Slot, item_of, log_panics};
use postern_agent_sdk::{Connection, SessionAgent};

/// The bindings.
#[allow(unsafe_code, missing_docs, clippy::all, clippy::pedantic, reason = "generated")]
pub mod world {
    wit_bindgen::generate!({
        path: "../../wit/0.1.0",
        inline: "
            package postern:sdk;
            world with-session {
                import postern:delivery-agent/types@0.1.0;
                import postern:delivery-agent/mail@0.1.0;
                export postern:delivery-agent/agent@0.1.0;
                export postern:delivery-agent/batch@0.1.0;
                export postern:delivery-agent/session@0.1.0;
            }
        ",
        world: "postern:sdk/with-session",
        with: {
            "postern:delivery-agent/types@0.1.0": postern_agent_sdk::component::base::postern::delivery_agent::types,
            "postern:delivery-agent/mail@0.1.0": postern_agent_sdk::component::base::postern::delivery_agent::mail,
        },
        pub_export_macro: true,
        export_macro_name: "export_session",
    });
}

pub use world::export_session;

use world::exports::postern::delivery_agent::{agent as exported, batch, session};

/// The exports of an agent over a session.
pub struct Exported<A>(PhantomData<A>);

impl<A: Slot> exported::Guest for Exported<A> {
    fn describe() -> exported::Description {
        log_panics();
        let postern_agent_sdk::Description { name, version, protocol, accepts, max_size } = A::describe();
        exported::Description { name, version, protocol, accepts, max_size }
    }

    fn open_connection(hop: types::NextHop) -> Result<String, types::Refusal> {
        log_panics();
        let types::NextHop { connector, protocol, destination } = hop;
        let hop = postern_agent_sdk::NextHop { connector, protocol, destination };
        A::with(|connection| connection.open(&hop)).map_err(Into::into)
    }

    fn deliver(item: mail::Item) -> Result<exported::Report, String> {
        let item = item_of(item);
        A::with(|connection| connection.deliver(&item)).map(Into::into)
    }

    fn close_connection() -> Result<(), String> {
        A::with(Connection::close)
    }
}

impl<A: Slot + SessionAgent> batch::Guest for Exported<A> {
    fn deliver_batch(items: Vec<mail::Item>) -> Result<Vec<exported::Report>, String> {
        let items: Vec<_> = items.into_iter().map(|item| item_of(item)).collect();
        let reports = A::with(|connection| connection.deliver_batch(&items))?;
        Ok(reports.into_iter().map(Into::into).collect())
    }
}

impl<A: Slot + SessionAgent> session::Guest for Exported<A> {
    fn tick() -> Result<session::Next, types::Refusal> {
        let postern_agent_sdk::Next { receipts, tick_after_ms } = A::with(Connection::tick)?;
        Ok(session::Next { receipts: receipts.into_iter().map(Into::into).collect(), tick_after_ms })
    }
}

impl From<postern_agent_sdk::Report> for exported::Report {
    fn from(r: postern_agent_sdk::Report) -> Self {
        Self {
            outcomes: r.outcomes.into_iter().map(Into::into).collect(),
            receipts: r.receipts.into_iter().map(Into::into).collect(),
            refusal: r.refusal.map(Into::into),
        }
    }
}
