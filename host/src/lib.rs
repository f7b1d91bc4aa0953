//! Postern moves mail between SMTP and everything that is not SMTP.
//!
//! The path of a message, and which room it passes when, is told in `docs/ARCHITECTURE.md`. [`server::start`] wires
//! everything together; [`submit::Submitter::submit`] is the door that every message comes in by;
//! [`settle::settle`] is the only code that decides a recipient's fate.

pub mod account;
pub mod address_forms;
pub mod admin;
pub mod agents;
pub mod author;
pub mod bad_mail;
pub mod breaker;
pub mod cli;
pub mod config;
pub mod connector;
pub mod dispatch;
pub mod dsn;
mod export;
pub mod logging;
pub mod metrics;
pub mod operate;
pub mod outbox;
pub mod preflight;
pub mod private;
pub mod quarantine;
pub mod receipts;
pub mod receive;
pub mod recordings;
pub mod retry;
pub mod route;
pub mod server;
pub mod settle;
pub mod smtp_client;
pub mod submit;
pub mod topology;
pub mod tracking;
