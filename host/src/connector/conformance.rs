//! Conformance: what every connector must do, whatever its kind, tried on real connectors with real far ends.
//!
//! A kind of connector takes part with a [`Fixture`] in a file of its own and a line in `kinds`; the [`Factory`] makes its
//! connector from a config, as in earnest. Each rule has an id and a sentence, which `docs/specs/connector.md` repeats.

mod broken;
mod delivery_agent;
mod foreign;
mod items;
mod rules;
mod send;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use postern_model::{Deferral, DeliveryReport, DeliveryRequest, Outcome, Refusal, Response};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::{BoxFuture, Connection, Connector, Factory};

/// No call may take longer, in a suite whose far ends answer at once or whose connectors wait for a second at most.
const HANG: Duration = Duration::from_secs(30);

/// How the far end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FarEnd {
    /// It takes everything.
    Live,
    /// It is there, and takes nothing.
    Refusing,
    /// Nobody is there.
    Dead,
    /// Somebody is there, and never says a word.
    Silent,
    /// What the connector itself needs is not there.
    Unusable,
}

/// A kind of connector with a far end.
trait Fixture: Sized + Send + Sync + 'static {
    /// A connector whose far end is so; `None` where this kind has no such far end.
    async fn start(far_end: FarEnd) -> Option<Self>;

    /// The connector.
    fn connector(&self) -> &Arc<dyn Connector>;

    /// What has arrived at the far end, as it came.
    fn arrived(&self) -> Vec<Vec<u8>>;

    /// What the far end takes for different items; `None` where it cannot tell a repeat.
    fn distinct(&self) -> Option<usize>;

    /// A far end that refused takes everything from now on.
    fn mend(&self);
}

macro_rules! rules {
    ($($id:literal $check:ident $sentence:literal)*) => {
        /// Every rule, in the order of the spec.
        const RULES: &[(&str, &str, &str)] = &[$(($id, stringify!($check), $sentence)),*];

        /// The tests of one kind of connector.
        macro_rules! suite {
            ($kind:ident, $fixture:ty) => {
                mod $kind {
                    $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $check() {
                        super::super::rules::$check::<$fixture>().await;
                    })*
                }
            };
        }
    };
}

rules! {
    "CON-01" open_answers
        "`open` MUST answer with a connection or a refusal in the time that the connector's limits give, whatever the far end is like."
    "CON-02" label_is_one_short_line
        "A label MUST be one line of 1 to 256 bytes without control characters."
    "CON-03" one_outcome_per_recipient
        "A delivery to a far end that takes everything MUST report exactly one outcome for each queued recipient, and none for any other."
    "CON-04" codes_fit
        "The response of an outcome or a refusal MUST fit it, and MUST say something."
    "CON-05" a_dead_far_end_is_a_deferral
        "A far end that is dead or silent MUST be a deferral with a reason: never a success, never a failure, never a hang."
    "CON-06" a_refusal_is_no_success
        "What the far end refuses MUST NOT be reported as a success."
    "CON-07" usable_after_a_failed_delivery
        "A connector MUST be usable after a delivery that failed."
    "CON-08" usable_after_a_dropped_delivery
        "A connector MUST be usable after the future of a `deliver` was dropped, at any point."
    "CON-09" content_arrives_byte_for_byte
        "The content MUST arrive byte for byte behind what the connector puts before it."
    "CON-10" the_state_tells
        "`state` MUST be ready while the connector delivers; one that cannot be used MUST be disabled with a reason, with which its mail is deferred."
    "CON-11" a_repeat_is_recognised
        "A far end that can tell items apart MUST see an item that is tried again as the same one."
    "CON-12" close_returns
        "`close` MUST return, also when nothing was delivered and after a delivery that failed."
    "CON-13" connections_do_not_mix
        "Connections that are open at the same time MUST NOT disturb one another."
    "CON-14" a_poll_answers
        "`poll_receipts` MUST answer, and with nothing where `can_poll` says no."
    "CON-15" a_batch_has_one_report_per_item
        "`deliver_batch` MUST give one report for each item, in their order, with exactly one outcome for each queued recipient."
}

mod kinds {
    suite!(a_delivery_agent, super::super::delivery_agent::AgentSite);
    suite!(a_foreign_connector, super::super::foreign::ForeignSite);
    suite!(a_send_connector, super::super::send::SendSite);
    // Those of which each breaks one rule stand on one that breaks none.
    suite!(one_that_breaks_nothing, super::super::broken::BrokenSite<0>);
}

#[test]
fn every_rule_has_an_id_of_its_own_and_demands_something() {
    let ids: std::collections::BTreeSet<_> = RULES.iter().map(|(id, ..)| id).collect();
    assert_eq!(ids.len(), RULES.len());
    assert!(RULES.iter().all(|(_, _, sentence)| sentence.contains("MUST") && sentence.ends_with('.')));
}

/// The connector that a section of a config makes, in a folder of its own. `{folder}` in the section is that folder.
async fn connector(folder: &Path, section: &str) -> Arc<dyn Connector> {
    let path = folder.join("postern.toml");
    let text = format!("[host]\nname = \"gw.example\"\ndata_directory = \"data\"\n{section}");
    let (config, _) = crate::config::check_text(&text, &path, &path, &|_| None)
        .unwrap_or_else(|report| panic!("{}", report.human()));
    // Nobody listens to receipts here.
    let (receipts, _) = tokio::sync::mpsc::unbounded_channel();
    let factory = Factory::new(
        receipts,
        Arc::new(|_, _| true),
        Arc::default(),
        Arc::new(|_| true),
        super::doors::AgentDoors::default(),
    );
    let built = tokio::task::spawn_blocking(move || factory.build(&config, "subject")).await.unwrap();
    built.expect("the runtime of the agents starts").expect("the section is about the subject")
}

/// A folder that goes with its fixture.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

/// Runs a connector's code where it must run, and fails when it hangs.
async fn on<T: Send + 'static>(
    connector: &Arc<dyn Connector>,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let handle = connector.runtime().cloned().unwrap_or_else(Handle::current);
    tokio::time::timeout(HANG, handle.spawn(work)).await.expect("the connector hangs").unwrap()
}

async fn open(connector: &Arc<dyn Connector>) -> Result<Box<dyn Connection>, Refusal> {
    let opener = connector.clone();
    on(connector, async move { opener.open(&items::hop()).await }).await.map_err(|no| no.refusal)
}

/// Delivers over this connection and gives it back.
async fn deliver_over(
    connector: &Arc<dyn Connector>,
    mut connection: Box<dyn Connection>,
    request: &DeliveryRequest,
) -> (DeliveryReport, Box<dyn Connection>) {
    let request = request.clone();
    on(connector, async move {
        let report = connection.deliver(&request).await;
        (report, connection)
    })
    .await
}

async fn close(connector: &Arc<dyn Connector>, connection: Box<dyn Connection>) {
    on(connector, connection.close()).await;
}

/// Opens, delivers and closes, as a line does. A refusal to open is a report that refuses.
async fn deliver(connector: &Arc<dyn Connector>, request: &DeliveryRequest) -> DeliveryReport {
    let connection = match open(connector).await {
        Ok(connection) => connection,
        Err(refusal) => return DeliveryReport { refusal: Some(refusal), ..DeliveryReport::default() },
    };
    let (report, connection) = deliver_over(connector, connection, request).await;
    close(connector, connection).await;
    report
}

/// What becomes of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Success(Response),
    Deferred(Response),
    Failed(Response),
    /// Nothing is said about it, not even by a fault of the whole.
    Unsaid,
}

/// What a report makes of each queued recipient: its own outcome, else what is said about the whole.
fn fates(request: &DeliveryRequest, report: &DeliveryReport) -> Vec<Fate> {
    let whole = match (&report.fault, &report.refusal) {
        (Some(Deferral { response, .. }), _) => Fate::Deferred(response.clone()),
        (None, Some(Refusal::DeferQueue(Deferral { response, .. }))) => Fate::Deferred(response.clone()),
        (None, Some(Refusal::FailQueue { response, .. })) => Fate::Failed(response.clone()),
        (None, None) => Fate::Unsaid,
    };
    let own = |index: u32| report.outcomes.iter().find(|outcome| outcome.recipient == index);
    let fate = |index: u32| match own(index).map(|own| &own.outcome) {
        Some(Outcome::Deferred(deferral)) => Fate::Deferred(deferral.response.clone()),
        Some(Outcome::Failed { response, .. }) => Fate::Failed(response.clone()),
        Some(good) => Fate::Success(good.response().clone()),
        None => whole.clone(),
    };
    request.recipients().map(|recipient| fate(recipient.index)).collect()
}

/// Fails unless everything of a request arrived in the report's eyes.
#[track_caller]
fn assert_success(request: &DeliveryRequest, report: &DeliveryReport) {
    let fates = fates(request, report);
    assert!(fates.iter().all(|fate| matches!(fate, Fate::Success(_))), "{report:?}");
}
