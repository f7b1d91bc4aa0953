//! Asking the running host over its control socket, or the store itself when the host is stopped.

use serde_json::Value;

use super::{CliError, Common, load_config};
use crate::operate::{ControlError, OperateError, Request, ask};
use crate::server;

/// The answer to a request, from whoever can give it.
pub fn answer(common: &Common, request: Request) -> Result<Value, CliError> {
    let config = load_config(common)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(CliError::failed)?;
    runtime.block_on(async {
        match ask(&config.host.data_directory, request.clone()).await {
            Ok(value) => Ok(value),
            Err(ControlError::NotRunning) => {
                let operations = server::open_stopped(config).await.map_err(CliError::failed)?;
                let value = operations.execute(request).await.map_err(refused);
                server::close_stopped(operations).await.map_err(CliError::failed)?;
                value
            }
            Err(ControlError::Refused(error)) => Err(refused(error)),
            Err(error @ ControlError::Broken(_)) => Err(CliError::failed(error)),
        }
    })
}

fn refused(error: OperateError) -> CliError {
    match error {
        OperateError::NotFound(_) => CliError::no(error),
        OperateError::Busy(_) | OperateError::Failed(_) => CliError::failed(error),
    }
}
