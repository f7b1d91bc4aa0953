//! `postern run`: the host.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::sync::oneshot;

use super::{CliError, CliResult, Common, STORE_STOPPED};
use crate::config::LogFormat;
use crate::server::{self, Wish};
use crate::{logging, preflight};

#[derive(Args)]
pub struct RunArguments {
    /// When everything listens, this file appears with the ports and the pid, as JSON.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// The form of the log; default: as the config says.
    #[arg(long)]
    log_format: Option<LogFormat>,
    /// Stop when standard input ends: whoever started the host holds its other end, and is gone then, however it went.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

pub fn run(common: &Common, arguments: &RunArguments) -> CliResult {
    let (config, warnings) =
        preflight::look(&common.config).map_err(|report| CliError::usage(report.human()))?;
    logging::start(arguments.log_format.unwrap_or(config.host.log_format));
    for warning in warnings {
        tracing::warn!(key = warning.key, "{}", warning.message);
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.host.worker_threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.enable_all().build().map_err(CliError::failed)?;
    let ready_file = arguments.ready_file.clone();
    let ended = if arguments.stop_with_stdin { Some(end_of_input()?) } else { None };
    runtime.block_on(async move {
        // Before anything starts: a signal that comes early must stop the host in good order, too.
        let mut signals = server::Signals::listen().map_err(CliError::failed)?;
        let host = server::start(config).await.map_err(CliError::failed)?;
        if let Some(path) = ready_file {
            host.write_ready_file(&path).map_err(CliError::failed)?;
        }
        let mut ended = std::pin::pin!(async {
            match ended {
                // An error says that the thread has ended, and the input with it.
                Some(ended) => {
                    let _ = ended.await;
                }
                None => std::future::pending().await,
            }
        });
        loop {
            tokio::select! {
                wish = signals.next() => match wish {
                    // How a reload went stands in the log.
                    Wish::Reload => drop(host.reload().await),
                    Wish::Stop => break,
                },
                () = &mut ended => break,
                () = host.has_failed() => {
                    tracing::error!("ending, since the store has stopped; nothing that was accepted is lost by a new start");
                    host.give_up().await;
                    return Ok(ExitCode::from(STORE_STOPPED));
                }
            }
        }
        tracing::info!("stopping: what is being delivered may finish");
        host.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Tells when standard input has ended. The thread that reads it ends with the process.
fn end_of_input() -> Result<oneshot::Receiver<()>, CliError> {
    let (sender, receiver) = oneshot::channel();
    let read = move || {
        // What is written there means nothing; an error ends it as well.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(sender);
    };
    std::thread::Builder::new().name("stdin".to_owned()).spawn(read).map_err(CliError::failed)?;
    Ok(receiver)
}
