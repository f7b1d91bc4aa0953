//! Tracking: what happened to each message, in one database file a day under `tracking/`, and searchable.
//!
//! The queue's commits write one compact row an event and no index. [`Mover`] carries these rows to the day files
//! in the background; a search reads both, so it never misses what has not been moved yet.

mod archive;
mod day_file;
mod mover;
mod search;

pub use archive::{Archive, expire, fate_of};
pub use day_file::{DayFile, TrackingError, kind_of};
pub use mover::{MoveError, Mover, move_all};
pub use search::{Query, TrackedEvent, search};
