//! The conformance suite: what every delivery agent must do, tried on one of them.
//!
//! [`run`] takes an agent through its life under watch, and then asks each rule of [`RULES`] what it makes of what was
//! seen. The far end is not there unless the caller grants a way to it, so an agent is judged by how it behaves, not by
//! what arrives. Each rule has an id and a sentence, which `docs/specs/agent.md` repeats.

mod connection;
mod denied;
mod exercise;
mod limits;
mod loading;
mod observed;
mod optional;
mod outcomes;
mod receipts;
mod settings;
mod shapes;
mod texts;

use crate::{AgentSpec, LoadError, Runtime};
use observed::Observed;

/// How many items are delivered over one connection to see whether its memory stays flat, where nobody says.
pub const DEFAULT_CALLS: u32 = 10_000;

/// One thing that every agent must do.
pub struct Rule {
    /// Its id in the spec: `AGT-07`.
    pub id: &'static str,
    /// Its name in the spec: `one_outcome_per_recipient`.
    pub name: &'static str,
    /// What it demands.
    pub sentence: &'static str,
    check: fn(&Observed) -> Finding,
}

/// What a rule says about an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The agent keeps it.
    Passed,
    /// The agent breaks it: where, and how.
    Failed(String),
    /// It says nothing about this agent, or could not be tried: why.
    NotApplicable(String),
}

/// A rule and its finding.
pub struct Verdict {
    /// The rule.
    pub rule: &'static Rule,
    /// What it says.
    pub finding: Finding,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// What is being done now.
    Doing(&'static str),
    /// Of the calls over one connection, so many are done.
    Calls {
        /// Done.
        done: u32,
        /// In all.
        of: u32,
    },
}

macro_rules! rules {
    ($($id:literal $group:ident::$check:ident $sentence:literal)*) => {
        &[$(Rule { id: $id, name: stringify!($check), sentence: $sentence, check: $group::$check }),*]
    };
}

/// Every rule, in the order of the spec.
pub const RULES: &[Rule] = rules! {
    "AGT-01" loading::is_an_agent_that_the_host_serves
        "An agent MUST export `agent` of a contract version that the host serves, and import nothing that the host does not offer."
    "AGT-02" loading::starts_and_describes_itself_in_time
        "An agent MUST start and describe itself within `describe_deadline` and its processor time."
    "AGT-03" loading::describes_itself_within_limits
        "A description MUST have a name, a version and a protocol, each one line of at most 128 bytes, and at most 100 media types."
    "AGT-04" connection::open_returns
        "`open-connection` MUST return a label or a refusal within its deadline and its processor time."
    "AGT-05" connection::deliver_returns
        "`deliver` MUST return within its deadline and its processor time, whatever the message is."
    "AGT-06" connection::close_returns
        "`close-connection` MUST return within its deadline and its processor time, also when nothing was delivered."
    "AGT-07" outcomes::one_outcome_per_recipient
        "An agent MUST report exactly one outcome for each recipient of the item, by the recipient's index."
    "AGT-08" outcomes::no_second_outcome
        "An agent MUST NOT report a second outcome for a recipient."
    "AGT-09" outcomes::no_outcome_for_others
        "An agent MUST NOT report an outcome for a recipient that the item does not have."
    "AGT-10" outcomes::codes_fit
        "A response MUST fit its outcome: 2xx and 2.X.X for a success and for `accepted`, 4xx and 4.X.X for `deferred`, 5xx and 5.X.X for `failed`."
    "AGT-11" outcomes::accepted_names_its_receipts
        "`accepted` MUST name at least one receipt id and at most `receipt_ids`, each of 1 to 256 bytes without control characters."
    "AGT-12" outcomes::outcomes_rather_than_an_error
        "`deliver` SHOULD report outcomes rather than return an error, which has no code, no class and no recipient."
    "AGT-13" outcomes::no_flood_of_outcomes
        "An agent MUST NOT report more than `outcomes` outcomes in one call."
    "AGT-14" connection::refusals_fit
        "A refusal MUST have a text and a response that fits: 4xx and 4.X.X for `defer-queue`, 5xx and 5.X.X for `fail-queue`."
    "AGT-15" connection::label_is_one_short_line
        "A label MUST be one line of 1 to 256 bytes."
    "AGT-16" texts::texts_are_short_lines
        "A text SHOULD be one line: of at most 512 bytes in a response, of at most 256 in a remote id or a detail, of which there are at most 16."
    "AGT-17" texts::no_secret_is_shown
        "A secret MUST NOT stand in a log line, a label, a response or any other text."
    "AGT-18" limits::log_is_bounded
        "An agent MUST NOT log more than `log_lines` lines in one call."
    "AGT-19" limits::memory_is_enough
        "An agent MUST NOT need more memory than `memory`."
    "AGT-20" limits::memory_stays_flat
        "The memory of a connection MUST stay flat, however many items are delivered over it."
    "AGT-21" limits::host_calls_are_bounded
        "An agent MUST NOT hand over more than `host_call_bytes` in one call of the host or in one result."
    "AGT-22" limits::random_is_bounded
        "An agent MUST NOT ask for more than `random_bytes` random bytes at once."
    "AGT-23" limits::no_item_is_kept
        "An agent MUST NOT use an item after the `deliver` that it came with."
    "AGT-24" settings::settings_never_trap
        "Settings that are missing, empty or of a wrong type MUST NOT make an agent trap or overrun."
    "AGT-25" settings::bad_settings_are_named
        "A refusal because of settings MUST say so: its text has the word `settings` or the name of the setting."
    "AGT-26" denied::survives_when_all_is_denied
        "An agent to which everything is denied MUST NOT trap or overrun: it refuses, defers or fails."
    "AGT-27" denied::no_success_when_denied
        "An agent whose way out is denied MUST NOT report a success or `accepted`."
    "AGT-28" receipts::poll_returns
        "`receipts.poll` MUST return within its deadline and its processor time."
    "AGT-29" receipts::no_receipt_is_made_up
        "`receipts.poll` MUST NOT make up the end of a receipt that it cannot ask about."
    "AGT-30" receipts::receipts_fit
        "A receipt MUST have an id of 1 to 256 bytes without control characters, and a response that fits its state."
    "AGT-31" loading::describes_itself_the_same_each_time
        "An agent MUST describe itself the same way each time that it is asked with the same settings."
    "AGT-32" optional::batch_returns
        "`batch.deliver-batch` MUST return within its deadline and its processor time."
    "AGT-33" optional::one_report_per_item
        "`batch.deliver-batch` MUST return one report for each item, in their order, with exactly one outcome for each recipient."
    "AGT-34" optional::tick_returns
        "`session.tick` MUST return within its deadline and its processor time, before the first delivery and after it."
    "AGT-35" optional::probe_returns
        "`probe.did-it-arrive` MUST return within its deadline and its processor time."
    "AGT-36" optional::no_arrival_is_made_up
        "`probe.did-it-arrive` MUST NOT say that a hand-over arrived, or that it did not, when it cannot ask."
    "AGT-37" optional::callback_returns
        "`callback.handle` MUST return within its deadline and its processor time, whatever the request is."
    "AGT-38" optional::callback_answers
        "`callback.handle` MUST answer with a status of 200 to 599, and MUST NOT take receipts from a request that holds nothing."
};

/// Tries an agent: `spec` says which, with its settings, and what it is granted; `calls` is how many items are delivered
/// over one connection to see whether its memory stays flat. Blocking, for seconds and more: call it on a thread of your
/// own, never in async code.
///
/// Whatever is granted is used: with grants, every message of the suite goes to the far end.
///
/// # Errors
/// When the agent cannot be tried for a reason that is not its own: its file cannot be read, or `spec` asks for what this
/// host does not have.
pub fn run(
    runtime: &Runtime,
    spec: &AgentSpec,
    calls: u32,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Verdict>, LoadError> {
    let observed = exercise::observe(runtime, spec, calls, progress)?;
    Ok(RULES.iter().map(|rule| Verdict { rule, finding: (rule.check)(&observed) }).collect())
}
