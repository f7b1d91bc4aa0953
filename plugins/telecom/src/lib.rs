//! What every agent for telephones needs to know, in one place: how a text becomes short messages, and what a number is.
//!
//! - [`gsm7`]: the alphabet of GSM 03.38 (3GPP TS 23.038) with its extension table, packed and unpacked;
//! - [`transliterate`]: letters that look alike within that alphabet;
//! - [`segment`]: which alphabet a text needs, how many segments, and what stands in each;
//! - [`header`]: user data headers (3GPP TS 23.040 9.2.3.24), to be written and read;
//! - [`coding`]: what `data_coding` says about the bytes of a text, in both directions;
//! - [`number`]: E.164 numbers, and how people write them.
//!
//! Nothing here does input or output or knows the agent contract. Functions take and give texts, bytes and plain records,
//! so that the same functions can be exported as a component for agents in other languages.

#![no_std]

extern crate alloc;

pub mod coding;
pub mod gsm7;
pub mod header;
pub mod number;
pub mod segment;
pub mod transliterate;

pub use coding::Default7;
pub use header::{Concatenation, Width};
pub use number::{Dialling, NumberError};
pub use segment::{Alphabet, Count, Encoded, Policy, TooManySegments};
