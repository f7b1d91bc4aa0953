//! Crew: the versions of one connector's agent that are loaded: the one that delivers, one that stands its trial or was
//! rolled back, and those that end what they are at.
//!
//! What changes is decided by `agents::rollout` and `agents::canary`; here it is carried out.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use postern_agent::{Agent, AgentSpec, AgentStats, LoadError, Runtime};
use postern_model::{NextHop, TrackingEvent};
use postern_store::Store;
use serde::Serialize;
use tokio::sync::Notify;

use super::version::{Role, Version, VersionView};
use crate::agents::{
    self, Change, Consents, Event, Gate, Judgement, Rollout, VersionRecord, judge_trial, takes,
};
use crate::breaker::AgentBreaker;
use crate::config::CanaryConfig;
use crate::metrics::Metrics;

#[cfg(test)]
mod tests;

/// What a crew works with.
#[derive(Clone)]
pub struct Tools {
    /// Runs agents.
    pub runtime: Runtime,
    /// What a component must show before it is loaded.
    pub gate: Gate,
    /// What the operator has agreed to.
    pub consents: Consents,
    /// Which versions delivered, and which were rolled back.
    pub record: VersionRecord,
    /// Where changes are counted.
    pub metrics: Arc<Metrics>,
    /// Where changes are tracked; `None` where there is no store.
    pub store: Option<Arc<dyn Store>>,
}

/// The versions of one connector's agent.
pub struct Crew {
    name: Arc<str>,
    tools: Tools,
    /// Leaves the agent alone for a while when message after message breaks it.
    breaker: Option<Arc<AgentBreaker>>,
    /// Rings when connections are to be closed that may be idle.
    pub changed: Notify,
    posts: Mutex<Posts>,
}

/// The version that a crew found in its file.
struct Found {
    version: Arc<Version>,
    /// The file that it was loaded from: the operator's, or a copy of the one that was agreed to.
    from: PathBuf,
    /// What follows from it.
    change: Change,
}

/// Who does what.
struct Posts {
    spec: AgentSpec,
    gate: Gate,
    canary: Option<CanaryConfig>,
    /// Not on record yet: a crew that is never used leaves no trace.
    found: Option<Found>,
    rollout: Rollout,
    steady: Arc<Version>,
    /// On trial, or rolled back: the rollout says which.
    candidate: Option<Arc<Version>>,
    draining: Vec<Arc<Version>>,
    /// What those did that are gone.
    past: AgentStats,
    /// Connections that were opened while the candidate is on trial.
    opened: u64,
    /// Why the agent in the file is not among them.
    held_back: Option<String>,
}

/// A crew as operators see it.
#[derive(Clone, Debug, Serialize)]
pub struct CrewView {
    /// `running`, `canary`, `rolled-back` or `waiting-for-consent`.
    pub state: &'static str,
    /// What an operator should know.
    pub reason: Option<String>,
    /// The trial, while there is one.
    pub trial: Option<TrialView>,
    /// The versions: the one that delivers first.
    pub versions: Vec<VersionView>,
}

/// How far a trial is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TrialView {
    /// The share of new connections, in percent.
    pub share: u32,
    /// Deliveries that passed.
    pub passed: u64,
    /// So many must.
    pub count: u32,
}

impl Crew {
    /// Loads the versions that a connector needs: the one in its file, and the one that delivers if that is another.
    /// Blocking: they may have to be compiled.
    ///
    /// # Errors
    /// Why there is nothing that could run.
    pub fn load(
        name: Arc<str>,
        tools: Tools,
        spec: AgentSpec,
        canary: Option<CanaryConfig>,
        breaker: Option<Arc<AgentBreaker>>,
    ) -> Result<Self, String> {
        let agreed = agents::load(&tools.runtime, spec.clone(), &tools.gate, &tools.consents)?;
        let digest = agreed.agent.digest().to_owned();
        let known = tools.record.rollout(&name).map_err(|error| error.to_string())?;
        let found = Event::Found { sha256: digest.clone(), canary: canary.is_some() };
        let (mut rollout, mut change) = match known {
            Some(known) => known.step(found).map_err(str::to_owned)?,
            None => (Rollout::of(&digest), Change::Nothing),
        };
        let file = Version::new(agreed.agent);
        let (mut steady, mut candidate) = (file.clone(), None);
        if rollout.steady != digest {
            match (load_copy(&tools, &tools.gate, &rollout.steady, &spec), rollout.rolled_back()) {
                (Ok(version), _) => (steady, candidate) = (version, Some(file.clone())),
                (Err(error), Some(why)) => {
                    return Err(format!(
                        "this version was rolled back ({why}), and {error}: put another one in the place of {}",
                        spec.component.display()
                    ));
                }
                (Err(error), None) => {
                    tracing::warn!(connector = %name, error, "there is no trial");
                    (rollout, change) = (Rollout::of(&digest), Change::Swapped);
                }
            }
        }
        let posts = Posts {
            spec,
            gate: tools.gate.clone(),
            canary,
            found: Some(Found { version: file, from: agreed.from, change }),
            rollout,
            steady,
            candidate,
            draining: Vec::new(),
            past: AgentStats::default(),
            opened: 0,
            held_back: agreed.held_back,
        };
        Ok(Self { name, tools, breaker, changed: Notify::new(), posts: Mutex::new(posts) })
    }

    /// Puts what was found in the file on record, and tells of it: the crew is at work from now on. Blocking.
    pub fn begin(&self) {
        let Some(found) = self.posts().found.take() else { return };
        self.record_found(&found).unwrap_or_else(|why| {
            // It runs all the same; only the way back may be missing.
            tracing::warn!(connector = %self.name, why, "the agent's version could not be recorded");
        });
        self.tell(found.change, "host", None);
    }

    /// Puts the rollout on the disk, with a copy of the version that was found.
    fn record_found(&self, found: &Found) -> Result<(), String> {
        let (record, agent) = (&self.tools.record, found.version.agent());
        let copy = match record.copy(agent.digest()).exists() {
            true => None,
            false => Some(agent.component_in(&found.from).map_err(|error| error.to_string())?),
        };
        let copy = copy.as_deref().map(|bytes| (agent.digest(), bytes));
        let recorded = record.set(&self.name, || self.posts().rollout.clone(), copy);
        recorded.map_err(|error| error.to_string())
    }

    fn posts(&self) -> MutexGuard<'_, Posts> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the rollout on the disk, as it is when its turn has come. Blocking.
    fn record(&self) -> Result<(), String> {
        let recorded = self.tools.record.set(&self.name, || self.posts().rollout.clone(), None);
        recorded.map_err(|error| error.to_string())
    }

    /// Leaves an agent alone that message after message breaks.
    pub fn breaker(&self) -> Option<&Arc<AgentBreaker>> {
        self.breaker.as_ref()
    }

    /// Another version delivers: what the one before broke says nothing about it.
    fn exchanged(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.reset();
        }
        self.changed.notify_one();
    }

    /// The version that delivers, which also answers beside connections.
    pub fn steady(&self) -> Arc<Version> {
        self.posts().steady.clone()
    }

    /// The version for the next connection; and, for one on trial, the version that delivers.
    pub fn next(&self) -> (Arc<Version>, Option<Arc<Version>>) {
        let mut posts = self.posts();
        let Some((canary, candidate)) = posts.trial() else { return (posts.steady.clone(), None) };
        let nth = posts.opened;
        posts.opened += 1;
        if takes(&canary, nth) {
            (candidate, Some(posts.steady.clone()))
        } else {
            (posts.steady.clone(), None)
        }
    }

    /// Whether a version is on trial or was rolled back: what it says is not the word of the connector.
    pub fn is_candidate(&self, version: &Version) -> bool {
        let posts = self.posts();
        posts.candidate.as_ref().is_some_and(|candidate| std::ptr::eq(Arc::as_ptr(candidate), version))
    }

    /// Whether it is this version that delivers.
    pub fn is_steady(&self, version: &Version) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.posts().steady), version)
    }

    /// Looks whether the trial is over, after the candidate has done something.
    pub fn look_at_trial(self: &Arc<Self>) {
        let (change, reason) = {
            let mut posts = self.posts();
            let Some((canary, candidate)) = posts.trial() else { return };
            let (event, reason) = match judge_trial(&canary, candidate.tally()) {
                Judgement::OnTrial => return,
                Judgement::Good => (Event::Good, None),
                Judgement::Bad(reason) => (Event::Bad(reason.clone()), Some(reason)),
            };
            // Carried out before it is on the disk: the damage is to end now. A crash in between only repeats the trial.
            let Some(change) = posts.take(event) else { return };
            (change, reason)
        };
        self.exchanged();
        let crew = self.clone();
        self.tools.runtime.handle().spawn_blocking(move || {
            if let Err(why) = crew.record() {
                tracing::error!(connector = %crew.name, why, "the end of the trial could not be recorded");
            }
            crew.tell(change, "host", reason.as_deref());
        });
    }

    /// Does what an operator wants. Blocking.
    ///
    /// # Errors
    /// Why it cannot be.
    pub fn order(&self, event: Event) -> Result<Change, String> {
        let (spec, gate, now) = {
            let posts = self.posts();
            (posts.spec.clone(), posts.gate.clone(), posts.rollout.clone())
        };
        let (next, change) = now.step(event).map_err(str::to_owned)?;
        // The version to go back to is not loaded while it does nothing.
        let before = match now.before.as_ref() == Some(&next.steady) {
            true => Some(load_copy(&self.tools, &gate, &next.steady, &spec)?),
            false => None,
        };
        // On the disk first: the operator is told that it is so.
        self.tools.record.set(&self.name, || next.clone(), None).map_err(|error| error.to_string())?;
        let arranged = {
            let mut posts = self.posts();
            posts.rollout == now && posts.arrange(next, before.as_slice())
        };
        // Who recorded the rollout in between recorded the one before.
        self.record()?;
        if !arranged {
            return Err("the agent's versions changed at this very moment: look, and try again".to_owned());
        }
        self.exchanged();
        self.tell(change, "operator", None);
        Ok(change)
    }

    /// Takes over what a crew has that was made from a newer file or config. Versions that are the same go on. What
    /// follows from the new file follows from what is so now, not from what was so when the newer crew was made.
    ///
    /// # Errors
    /// Why it cannot be: everything is as it was then.
    pub fn adopt(&self, newer: &Self) -> Result<(), String> {
        let (mut new, mut posts) = (newer.posts(), self.posts());
        let mine = posts.posted();
        let same = |version: &Arc<Version>| {
            let digest = version.agent().digest();
            let known = mine.iter().find(|mine| mine.agent().digest() == digest);
            // The same component that trusts other authorities is another version.
            known.filter(|mine| !lives_elsewhere(mine.agent())).unwrap_or(version).clone()
        };
        let Some(found) = new.found.take() else { return Ok(()) };
        let sha256 = found.version.agent().digest().to_owned();
        let event = Event::Found { sha256, canary: new.canary.is_some() };
        let (next, change) = posts.rollout.step(event).map_err(str::to_owned)?;
        let loaded: Vec<_> = new.posted().iter().map(same).collect();
        posts.spec = new.spec.clone();
        posts.gate = new.gate.clone();
        posts.canary = new.canary;
        posts.held_back = new.held_back.take();
        posts.found = Some(Found { change, ..found });
        let arranged = posts.arrange(next, &loaded);
        debug_assert!(arranged, "what delivers is the crew's own version, or the newer crew's");
        drop(posts);
        self.exchanged();
        Ok(())
    }

    /// Logs, counts and tracks a change.
    fn tell(&self, change: Change, by: &str, reason: Option<&str>) {
        let Some(word) = change.word() else { return };
        let about = |version: &Arc<Version>| {
            let (agent, about) = (version.agent(), version.agent().description());
            format!("{} {} {:.12}", about.name, about.version, agent.digest())
        };
        let (steady, other) = {
            let posts = self.posts();
            (about(&posts.steady), posts.candidate.as_ref().map(about))
        };
        let (connector, other) = (&*self.name, other.as_deref());
        match change {
            Change::RolledBack if by == "host" => {
                tracing::error!(
                    connector,
                    delivers = steady,
                    rolled_back = other,
                    reason,
                    "agent rolled back"
                )
            }
            _ => tracing::info!(
                connector,
                delivers = steady,
                other,
                by,
                change = word,
                "agent's versions changed"
            ),
        }
        self.tools.metrics.rollout(connector, word);
        let Some(store) = &self.tools.store else { return };
        let operation = format!("agent-{word}");
        let queue = NextHop::new(connector, "");
        let mut event = TrackingEvent::of_queue(&queue, &operation, by, reason, Timestamp::now());
        // It is about all queues of the connector.
        event.destination = None;
        event.details.push(("delivers".to_owned(), steady));
        event.details.extend(other.map(|other| ("other".to_owned(), other.to_owned())));
        let recorded = store.record(vec![event]);
        self.tools.runtime.handle().spawn(async move {
            if let Err(error) = recorded.await {
                tracing::warn!(%error, "a change of an agent's version could not be tracked");
            }
        });
    }

    /// Whether the file, what it trusts or a folder of its grants is another than the one that is known. Blocking: the
    /// file is read.
    pub fn is_outdated(&self) -> bool {
        let (newest, file, held_back) = {
            let posts = self.posts();
            let newest: Agent = posts.candidate.as_ref().unwrap_or(&posts.steady).agent().clone();
            (newest, posts.spec.component.clone(), posts.held_back.is_some())
        };
        // What was held back was looked at. Another file, or an operator who agreed meanwhile, changes that.
        held_back || newest.differs_from(&file) || lives_elsewhere(&newest)
    }

    /// What all versions have done together.
    pub fn stats(&self) -> AgentStats {
        let mut posts = self.posts();
        posts.let_go();
        posts.loaded().iter().fold(posts.past, |all, version| all.and(&version.stats()))
    }

    /// What an operator should know although it works.
    pub fn notice(&self) -> Option<String> {
        self.posts().notice()
    }

    /// As operators see it.
    pub fn view(&self) -> CrewView {
        let mut posts = self.posts();
        posts.let_go();
        let role = if posts.rollout.is_on_trial() { Role::Canary } else { Role::RolledBack };
        let state = match (&posts.held_back, &posts.candidate) {
            (Some(_), _) => "waiting-for-consent",
            (None, Some(_)) if role == Role::Canary => "canary",
            (None, Some(_)) => "rolled-back",
            (None, None) => "running",
        };
        let trial = posts.trial().map(|(canary, candidate)| TrialView {
            share: canary.share,
            passed: candidate.tally().passed,
            count: canary.count,
        });
        let mut versions = vec![posts.steady.view(Role::Steady)];
        versions.extend(posts.candidate.iter().map(|version| version.view(role)));
        versions.extend(posts.draining.iter().map(|version| version.view(Role::Draining)));
        CrewView { state, reason: posts.notice(), trial, versions }
    }
}

/// Whether what an agent was loaded with is another by now: whom it trusts, or the folders that it was granted. Blocking.
fn lives_elsewhere(agent: &Agent) -> bool {
    agent.trusts_others_by_now() || agent.has_other_folders_by_now()
}

/// Loads a version from the copy that was kept of it.
fn load_copy(tools: &Tools, gate: &Gate, sha256: &str, spec: &AgentSpec) -> Result<Arc<Version>, String> {
    let copy = tools.record.copy(sha256);
    let gone = |error: String| format!("the version before is gone ({error})");
    gate.kept(&copy, sha256).map_err(gone)?;
    let sha256 = Some(sha256.to_owned());
    match tools.runtime.load(AgentSpec { component: copy, sha256, ..spec.clone() }) {
        Ok(agent) => Ok(Version::new(agent)),
        Err(LoadError::Digest { path, .. }) => {
            Err(format!("the copy of the version before is damaged ({})", path.display()))
        }
        Err(error) => Err(gone(error.to_string())),
    }
}

impl Posts {
    /// The candidate with the terms of its trial, while it is on one.
    fn trial(&self) -> Option<(CanaryConfig, Arc<Version>)> {
        let candidate = self.candidate.clone().filter(|_| self.rollout.is_on_trial())?;
        Some((self.canary?, candidate))
    }

    /// The versions that have a post.
    fn posted(&self) -> Vec<Arc<Version>> {
        [&self.steady].into_iter().chain(&self.candidate).cloned().collect()
    }

    /// Every version that is loaded.
    fn loaded(&self) -> Vec<Arc<Version>> {
        let mut all = self.posted();
        all.extend(self.draining.iter().cloned());
        all
    }

    /// Carries out an event about the candidate.
    fn take(&mut self, event: Event) -> Option<Change> {
        let (next, change) = self.rollout.step(event).ok()?;
        self.arrange(next, &[]).then_some(change)
    }

    /// Puts the loaded versions, and those that were loaded for it, where a rollout wants them. Says whether they are there.
    fn arrange(&mut self, rollout: Rollout, loaded: &[Arc<Version>]) -> bool {
        let was_on_trial = self.trial().map(|(_, candidate)| candidate);
        let mine = self.loaded();
        let find = |sha256: &str| {
            loaded.iter().chain(&mine).find(|version| version.agent().digest() == sha256).cloned()
        };
        let Some(steady) = find(&rollout.steady) else { return false };
        let candidate = rollout.candidate.as_ref().and_then(|candidate| find(&candidate.sha256));
        self.rollout = rollout;
        self.man(steady, candidate, mine);
        let on_trial = self.trial().map(|(_, candidate)| candidate);
        let goes_on = was_on_trial.zip(on_trial).is_some_and(|(was, is)| Arc::ptr_eq(&was, &is));
        if !goes_on {
            self.opened = 0;
        }
        true
    }

    /// Mans the posts; who has none any more ends what it is at.
    fn man(&mut self, steady: Arc<Version>, candidate: Option<Arc<Version>>, loaded: Vec<Arc<Version>>) {
        self.steady = steady;
        self.candidate = candidate;
        let keeps = |version: &Arc<Version>| {
            Arc::ptr_eq(version, &self.steady)
                || self.candidate.as_ref().is_some_and(|candidate| Arc::ptr_eq(version, candidate))
        };
        self.draining = loaded.into_iter().filter(|version| !keeps(version)).collect();
        self.draining.iter().for_each(|version| version.retire(true));
        self.steady.retire(false);
        let rolled_back = !self.rollout.is_on_trial();
        self.candidate.iter().for_each(|version| version.retire(rolled_back));
    }

    /// Lets those go that have ended.
    fn let_go(&mut self) {
        let (busy, gone): (Vec<_>, Vec<_>) = self.draining.drain(..).partition(|version| version.is_busy());
        self.draining = busy;
        self.past = gone.iter().fold(self.past, |past, version| past.and(&version.stats()));
    }

    fn notice(&self) -> Option<String> {
        let rolled_back = || {
            let name = &self.spec.connector;
            let why = self.rollout.rolled_back()?;
            Some(format!(
                "the version before runs on: the one in {} was rolled back ({why}); put another one there, or: postern \
                 agent promote {name}",
                self.spec.component.display()
            ))
        };
        self.held_back.clone().or_else(rolled_back)
    }
}
