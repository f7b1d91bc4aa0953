//! Streams of files, with the bytes counted and limited.

use bytes::Bytes;
use wasmtime_wasi::filesystem::File;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable};
use wasmtime_wasi::p2::{StreamError, StreamResult};

use super::allowance::{Held, Meter, OverLimit};

/// A file that is read.
pub(crate) struct MeteredInput {
    inner: DynInputStream,
    meter: Meter,
    target: String,
    _held: Held,
}

/// A file that is written.
pub(crate) struct MeteredOutput {
    inner: DynOutputStream,
    meter: Meter,
    target: String,
    at: Position,
    _held: Held,
}

/// Where the next byte goes.
pub(crate) enum Position {
    /// There.
    At(u64),
    /// To the end of the file, which others may move.
    End(File),
}

impl MeteredInput {
    pub(crate) fn new(inner: DynInputStream, meter: Meter, target: String, held: Held) -> Self {
        Self { inner, meter, target, _held: held }
    }

    /// How much to ask for. One byte too many is asked for where none is left: only so is the end of a file seen.
    fn wanted(&self, size: usize) -> usize {
        size.min(usize::try_from(self.meter.readable()).unwrap_or(usize::MAX).max(1))
    }

    fn counted(&self, bytes: Bytes) -> StreamResult<Bytes> {
        match self.meter.was_read(bytes.len()) {
            Ok(()) => Ok(bytes),
            Err(over) => Err(failed(&self.meter, &self.target, over)),
        }
    }
}

impl MeteredOutput {
    pub(crate) fn new(
        inner: DynOutputStream,
        meter: Meter,
        target: String,
        at: Position,
        held: Held,
    ) -> Self {
        Self { inner, meter, target, at, _held: held }
    }

    fn count(&mut self, bytes: usize) -> StreamResult<()> {
        let at = match &self.at {
            Position::At(at) => *at,
            // What another stream has written there counts, too.
            Position::End(file) => {
                let known =
                    file.file.metadata().map_err(|error| StreamError::LastOperationFailed(error.into()))?;
                known.len()
            }
        };
        self.meter.will_write(bytes, at).map_err(|over| failed(&self.meter, &self.target, over))?;
        if let Position::At(at) = &mut self.at {
            *at += bytes as u64;
        }
        Ok(())
    }
}

fn failed(meter: &Meter, target: &str, over: OverLimit) -> StreamError {
    meter.over(target, over);
    StreamError::LastOperationFailed(over.into())
}

#[wasmtime_wasi::async_trait]
impl Pollable for MeteredInput {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for MeteredInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.inner.read(self.wanted(size))?;
        self.counted(bytes)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        let bytes = self.inner.blocking_read(self.wanted(size)).await?;
        self.counted(bytes)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for MeteredOutput {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for MeteredOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.count(bytes.len())?;
        self.inner.write(bytes)
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.count(bytes.len())?;
        self.inner.blocking_write_and_flush(bytes).await
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}
