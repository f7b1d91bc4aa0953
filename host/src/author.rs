//! Author: what someone who writes a delivery agent needs, without a checkout: a folder to begin with, and a build that
//! ends in a component.

pub mod bindings;
pub mod build;
pub mod component;
pub mod folder;
pub mod kit;
pub mod language;
pub mod project;
pub mod record;
pub mod tools;

pub use build::{BuildFault, Built, build};
pub use folder::{NewAgent, create};
pub use language::Language;
pub use project::Project;
pub use tools::{Missing, Tools};
