//! Streams of files, with the bytes counted and limited.

use bytes::Bytes;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable};
use wasmtime_wasi::p2::{StreamError, StreamResult};

use super::allowance::{Meter, OverLimit};

/// A file that is read.
pub(crate) struct MeteredInput {
    inner: DynInputStream,
    meter: Meter,
    target: String,
}

/// A file that is written.
pub(crate) struct MeteredOutput {
    inner: DynOutputStream,
    meter: Meter,
    target: String,
    /// Where the next byte goes.
    at: u64,
}

impl MeteredInput {
    pub(crate) fn new(inner: DynInputStream, meter: Meter, target: String) -> Self {
        Self { inner, meter, target }
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
    pub(crate) fn new(inner: DynOutputStream, meter: Meter, target: String, at: u64) -> Self {
        Self { inner, meter, target, at }
    }

    fn count(&mut self, bytes: usize) -> StreamResult<()> {
        self.meter.will_write(bytes, self.at).map_err(|over| failed(&self.meter, &self.target, over))?;
        self.at += bytes as u64;
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
