//! Interfaces of the contract that this host does not offer yet: they are linked, so that an agent which imports them
//! starts, and every call answers that it is not granted.

use wasmtime::Result;
use wasmtime::component::Resource;

use crate::bindings::imported::{inbound, state as kept, tcp};
use crate::state::State;

/// There is no connection: none was ever opened.
pub enum NoConnection {}

fn denied<T>() -> Result<Result<T, tcp::Fault>> {
    Ok(Err(tcp::Fault::Denied("tcp is not granted".to_owned())))
}

impl tcp::Host for State {
    fn connect(
        &mut self,
        _target: String,
        _timeout_ms: u32,
    ) -> Result<Result<Resource<NoConnection>, tcp::Fault>> {
        denied()
    }
}

impl tcp::HostConnection for State {
    fn read(&mut self, _: Resource<NoConnection>, _: u32, _: u32) -> Result<Result<Vec<u8>, tcp::Fault>> {
        denied()
    }

    fn read_line(
        &mut self,
        _: Resource<NoConnection>,
        _: u32,
        _: u32,
    ) -> Result<Result<Option<String>, tcp::Fault>> {
        denied()
    }

    fn write(&mut self, _: Resource<NoConnection>, _: Vec<u8>, _: u32) -> Result<Result<(), tcp::Fault>> {
        denied()
    }

    fn close(&mut self, _: Resource<NoConnection>) -> Result<()> {
        Ok(())
    }

    fn drop(&mut self, _: Resource<NoConnection>) -> Result<()> {
        Ok(())
    }
}

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
