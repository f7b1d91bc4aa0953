//! receive: the ways in. Each makes [`crate::submit::Submission`]s and hands them to the one door.

pub mod callback;
pub mod file;
pub mod smtp;
