//! Site: the doors and the ways out of a running host, and how a changed config is taken up without a stop.
//!
//! A reload is a swap. Everything that can go wrong (faults in the file, an address that is taken, an agent that cannot
//! be loaded) is tried before anything changes. Then the topology is swapped, and those connectors whose tables differ
//! are ended and started anew; each finishes what it has, its mail waits in the queue meanwhile. A delivery agent of which
//! only the version differs goes on: new connections use the new version while the old ones finish. Who is not mentioned
//! in the difference does not notice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::StartError;
use super::core::Core;
use super::difference::{self, Difference};
use super::doors::Doors;
use super::ways_out::WaysOut;
use crate::config::Config;
use crate::connector::Connector;
use crate::preflight;
use crate::topology::Topology;

/// What runs and can be exchanged.
pub struct Site {
    core: Arc<Core>,
    /// One reload at a time.
    moving: Mutex<Moving>,
}

struct Moving {
    doors: Doors,
    ways_out: WaysOut,
    /// Nothing is started any more.
    ended: bool,
}

/// What a reload did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Reloaded {
    /// Connectors of any kind that are new.
    pub started: Vec<Arc<str>>,
    /// Those that were ended and started anew.
    pub restarted: Vec<Arc<str>>,
    /// Delivery agents that went on with another version of their agent.
    pub swapped: Vec<Arc<str>>,
    /// Those that are gone, or off.
    pub stopped: Vec<Arc<str>>,
    /// Keys that changed, and count only from the next start on.
    pub needs_restart: Vec<&'static str>,
    /// What `postern check` would warn of.
    pub warnings: Vec<String>,
    /// Where the receive connectors listen now.
    pub receive: BTreeMap<String, Vec<SocketAddr>>,
}

/// Why nothing was reloaded: everything runs on as it did, but for [`ReloadError::Unstarted`].
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The config has faults.
    #[error("{0}")]
    Config(String),
    /// Something cannot be had.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An agent cannot be loaded where one works now.
    #[error("connector {connector}: {reason}")]
    Agent {
        /// Whose.
        connector: String,
        /// Why not.
        reason: String,
    },
    /// Everything was taken up, but a connector could not be started. Its mail waits.
    #[error("the config is in force, but not every connector could be started; reload once more: {0}")]
    Unstarted(StartError),
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopping,
}

impl Site {
    /// A site without doors and ways out.
    pub fn new(core: Arc<Core>, doors: Doors, ways_out: WaysOut) -> Self {
        Self { core, moving: Mutex::new(Moving { doors, ways_out, ended: false }) }
    }

    /// Opens everything that a config has: binds first, so that a port that is taken costs no attempt.
    ///
    /// # Errors
    /// What cannot be had; nothing runs then.
    pub async fn start(&self, config: &Config) -> Result<Opening, StartError> {
        let moving = self.moving.lock().await;
        let difference = Difference::from_nothing(config);
        let bound = moving.doors.bind(config).await?;
        let connectors = moving.ways_out.build(config, &difference.ways_out.begun).await?;
        moving.ways_out.let_withdraw(config);
        Ok(Opening { difference, bound, connectors })
    }

    /// Lets in and out what [`Self::start`] prepared. Says where the receive connectors listen.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(
        &self,
        config: &Config,
        opening: Opening,
    ) -> Result<BTreeMap<String, Vec<SocketAddr>>, StartError> {
        let mut moving = self.moving.lock().await;
        moving.ways_out.start(config, opening.connectors).await?;
        moving.doors.open(config, &opening.difference.doors.begun, opening.bound);
        Ok(moving.doors.addresses(config))
    }

    /// Reads the config again and takes up what changed.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut moving = self.moving.lock().await;
        if moving.ended {
            return Err(ReloadError::Stopping);
        }
        let old = self.core.topology.get();
        let (mut config, warnings) = read(&old.config.path).await?;
        let needs_restart = difference::keep_fixed(&old.config, &mut config);
        let mut difference = Difference::between(&old.config, &config);
        let outdated = moving.ways_out.outdated(difference.ways_out.kept.clone()).await?;
        difference.ways_out.renew(outdated);

        let bound = moving.doors.bind(&config).await?;
        let connectors = moving.ways_out.build(&config, &difference.ways_out.begun).await?;
        self.refuse_worse(&connectors)?;
        let swapped = connectors.iter().filter(|made| {
            let ended = difference.ways_out.ended.iter().any(|name| &**name == made.name());
            ended
                && difference::differs_only_in_version(&old.config, &config, made.name())
                && moving.ways_out.can_exchange(&***made)
        });
        difference.ways_out.swap(swapped.map(|made| made.name().into()).collect());

        // From here on nothing can be refused any more.
        self.core.topology.swap(Topology::build(config.clone()));
        // DSNs that wait for want of a connector may have one now.
        self.core.outbox.notify_one();
        moving.ways_out.let_withdraw(&config);
        moving.doors.close(&difference.doors.ended);
        moving.doors.open(&config, &difference.doors.begun, bound);
        let connectors = moving.ways_out.exchange(&difference.ways_out.swapped, connectors).await;
        let deadline = Instant::now() + config.host.shutdown_grace;
        moving.ways_out.end(&difference.ways_out.ended, deadline).await;
        moving.ways_out.start(&config, connectors).await.map_err(ReloadError::Unstarted)?;
        let mut reloaded = difference.into_report();
        reloaded.needs_restart = needs_restart;
        reloaded.warnings = warnings;
        reloaded.receive = moving.doors.addresses(&config);
        Ok(reloaded)
    }

    /// An agent that works is not exchanged for one that does not.
    fn refuse_worse(&self, connectors: &[Arc<dyn Connector>]) -> Result<(), ReloadError> {
        for new in connectors {
            let works = |c: Arc<dyn Connector>| c.load_fault().is_none();
            if let Some(reason) = new.load_fault()
                && self.core.connectors.get(new.name()).is_some_and(works)
            {
                let (connector, reason) = (new.name().to_owned(), reason.to_owned());
                return Err(ReloadError::Agent { connector, reason });
            }
        }
        Ok(())
    }

    /// Ends the doors, then the ways out; after that nothing can be reloaded.
    pub async fn end(&self, deadline: Instant) {
        let mut moving = self.moving.lock().await;
        moving.ended = true;
        moving.doors.end(deadline).await;
        moving.ways_out.end_all(deadline).await;
    }
}

/// What a start has made ready, and nobody uses yet.
pub struct Opening {
    difference: Difference,
    bound: super::doors::Bound,
    connectors: Vec<Arc<dyn Connector>>,
}

async fn read(path: &Path) -> Result<(Config, Vec<String>), ReloadError> {
    let path = path.to_owned();
    let looked = tokio::task::spawn_blocking(move || preflight::look(&path)).await;
    let (config, warnings) =
        looked.map_err(StartError::from)?.map_err(|report| ReloadError::Config(report.human()))?;
    let warnings = warnings.iter().map(|w| format!("{}: {}", w.key, w.message)).collect();
    Ok((config, warnings))
}
