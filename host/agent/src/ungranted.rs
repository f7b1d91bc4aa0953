//! Interfaces of the contract that this host does not offer yet: they are linked, so that an agent which imports them
//! starts, and every call answers that it is not granted.

use wasmtime::Result;

use crate::bindings::imported::{inbound, state as kept};
use crate::state::State;

impl kept::Host for State {
    fn get(&mut self, _key: String) -> Result<Result<Option<Vec<u8>>, kept::Fault>> {
        Ok(Err(kept::Fault::NotGranted))
    }

    fn set(&mut self, _key: String, _value: Vec<u8>) -> Result<Result<(), kept::Fault>> {
        Ok(Err(kept::Fault::NotGranted))
    }

    fn delete(&mut self, _key: String) -> Result<Result<(), kept::Fault>> {
        Ok(Err(kept::Fault::NotGranted))
    }

    fn keys(&mut self, _prefix: String, _limit: u32) -> Result<Result<Vec<String>, kept::Fault>> {
        Ok(Err(kept::Fault::NotGranted))
    }

    fn swap(
        &mut self,
        _key: String,
        _expected: Option<Vec<u8>>,
        _new: Option<Vec<u8>>,
    ) -> Result<Result<bool, kept::Fault>> {
        Ok(Err(kept::Fault::NotGranted))
    }
}

impl inbound::Host for State {
    fn submit(&mut self, _submission: inbound::Submission) -> Result<Result<String, String>> {
        Ok(Err("inbound is not granted".to_owned()))
    }
}
