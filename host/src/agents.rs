//! agents: which components may run, and what they may want. A component asks by its manifest and its imports; the
//! operator has agreed to one version of it, and a later version that wants more does not run until that is agreed to.
//! Of those that may run, a rollout says which one delivers and which one is on trial.

mod canary;
mod consent;
mod gate;
mod granted;
mod install;
mod leftovers;
mod load;
mod manifest;
mod record_folder;
mod rollout;
mod versions;

pub use canary::{Judgement, Tally, judge as judge_trial, takes};
pub use consent::{Accepted, Consents, Verdict, judge};
pub use gate::{Gate, Shown, not_authentic};
pub use granted::granted;
pub use install::Candidate;
pub use leftovers::sweep;
pub use load::{Agreed, load, wishes};
pub use manifest::{Manifest, ManifestError, Wishes};
pub use rollout::{Change, Event, Rollout};
pub use versions::VersionRecord;
