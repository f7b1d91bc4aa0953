//! Asking the running host over its control socket, or the store itself when the host is stopped.

use std::time::{Duration, Instant};

use postern_store::StoreError;
use serde_json::Value;

use super::{CliError, Common, load_config};
use crate::operate::{ControlError, OperateError, Operations, Request, ask};
use crate::server::{self, StartError};

/// How long a data directory that somebody holds without answering is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The answer to a request, from whoever can give it.
pub fn answer(common: &Common, request: Request) -> Result<Value, CliError> {
    let config = load_config(common)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::failed)?;
    runtime.block_on(async {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match ask(&config.host.data_directory, request.clone()).await {
                Ok(value) => return Ok(value),
                Err(ControlError::NotRunning) => {}
                Err(ControlError::Refused(error)) => return Err(refused(error)),
                Err(error @ ControlError::Broken(_)) => return Err(CliError::failed(error)),
            }
            match server::open_stopped(config.clone()).await {
                Ok(operations) => return on_the_store(operations, request).await,
                // A host that is just starting has the lock and no socket yet; another command has it for a moment.
                Err(StartError::Store(StoreError::Locked { .. })) if Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(CliError::failed(error)),
            }
        }
    })
}

async fn on_the_store(operations: Operations, request: Request) -> Result<Value, CliError> {
    let value = operations.execute(request).await.map_err(refused);
    server::close_stopped(operations).await.map_err(CliError::failed)?;
    value
}

fn refused(error: OperateError) -> CliError {
    match error {
        OperateError::NotFound(_) => CliError::no(error),
        OperateError::Config(_) => CliError::usage(error),
        OperateError::Busy(_) | OperateError::Failed(_) => CliError::failed(error),
    }
}
