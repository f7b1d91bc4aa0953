//! Stage: tasks that are stopped together.

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Tasks that are stopped together.
pub struct Stage {
    name: String,
    /// Cancelled when they are to end.
    pub stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Stage {
    /// A stage without tasks.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), stop: CancellationToken::new(), tasks: Vec::new() }
    }

    /// Adds a task.
    pub fn spawn(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(work));
    }

    /// Stops the tasks and waits for them. What has not ended at `deadline` is cut off.
    pub async fn end(self, deadline: Instant) {
        self.stop.cancel();
        for mut task in self.tasks {
            match tokio::time::timeout_at(deadline, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(stage = self.name, %error, "a task failed"),
                Err(_) => {
                    task.abort();
                    tracing::warn!(stage = self.name, "not everything ended within host.shutdown_grace");
                }
            }
        }
    }
}
