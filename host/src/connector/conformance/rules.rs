//! The rules, each a check that any kind of connector can be put through.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use postern_model::Content;
use tokio::task::JoinSet;

use super::{
    Connector, FarEnd, Fate, Fixture, assert_success, close, deliver, deliver_over, fates, folder, items, on,
    open,
};
use crate::connector::ConnectorState;

/// The longest label, in bytes; as the agent contract has it.
const MAX_LABEL: usize = 256;
/// How long a connector may take to notice that its far end works again.
const PATIENCE: Duration = Duration::from_secs(20);
/// At how many points a delivery is dropped.
const DROPS: usize = 20;

async fn live<F: Fixture>() -> F {
    F::start(FarEnd::Live).await.expect("every kind has a far end that takes everything")
}

pub(super) async fn open_answers<F: Fixture>() {
    for far_end in [FarEnd::Live, FarEnd::Refusing, FarEnd::Dead, FarEnd::Silent, FarEnd::Unusable] {
        let Some(site) = F::start(far_end).await else { continue };
        let opened = open(site.connector()).await;
        if far_end == FarEnd::Live {
            assert!(opened.is_ok(), "{:?}", opened.err());
        }
        if let Ok(connection) = opened {
            close(site.connector(), connection).await;
        }
    }
}

pub(super) async fn label_is_one_short_line<F: Fixture>() {
    let site = live::<F>().await;
    let connection = open(site.connector()).await.ok().unwrap();
    let label = connection.label().to_owned();
    assert!(!label.is_empty() && label.len() <= MAX_LABEL, "{label:?}");
    assert!(!label.chars().any(char::is_control), "{label:?}");
    close(site.connector(), connection).await;
}

pub(super) async fn one_outcome_per_recipient<F: Fixture>() {
    let site = live::<F>().await;
    let mut connection = open(site.connector()).await.ok().unwrap();
    let mut report;
    for request in [items::small(1), items::small(50), items::partly_done()] {
        (report, connection) = deliver_over(site.connector(), connection, &request).await;
        assert_success(&request, &report);
        let mut reported: Vec<u32> = report.outcomes.iter().map(|outcome| outcome.recipient).collect();
        reported.sort_unstable();
        assert_eq!(reported, request.recipients().map(|r| r.index).collect::<Vec<_>>());
        assert!(report.fault.is_none() && !report.broken && !report.trapped, "{report:?}");
    }
    close(site.connector(), connection).await;
    assert_eq!(site.arrived().len(), 3);
}

pub(super) async fn codes_fit<F: Fixture>() {
    for far_end in [FarEnd::Live, FarEnd::Refusing, FarEnd::Dead, FarEnd::Unusable] {
        let Some(site) = F::start(far_end).await else { continue };
        let request = items::small(2);
        let report = deliver(site.connector(), &request).await;
        assert!(report.outcomes.iter().all(|outcome| outcome.outcome.code_fits()), "{report:?}");
        for fate in fates(&request, &report) {
            let (response, fits) = match &fate {
                Fate::Success(response) => (response, response.is_success()),
                Fate::Deferred(response) => (response, response.is_temporary()),
                Fate::Failed(response) => (response, response.is_permanent()),
                Fate::Unsaid => panic!("{far_end:?}: nobody knows why: {report:?}"),
            };
            assert!(fits && !response.text.is_empty(), "{far_end:?}: {response}");
        }
    }
}

pub(super) async fn a_dead_far_end_is_a_deferral<F: Fixture>() {
    let mut tried = 0;
    for far_end in [FarEnd::Dead, FarEnd::Silent] {
        let Some(site) = F::start(far_end).await else { continue };
        let request = items::small(2);
        let report = deliver(site.connector(), &request).await;
        let fates = fates(&request, &report);
        assert!(fates.iter().all(|fate| matches!(fate, Fate::Deferred(_))), "{far_end:?}: {report:?}");
        assert!(site.arrived().is_empty());
        tried += 1;
    }
    assert!(tried > 0, "every kind has a far end that can be dead");
}

pub(super) async fn a_refusal_is_no_success<F: Fixture>() {
    let site = F::start(FarEnd::Refusing).await.expect("every kind has a far end that can refuse");
    let request = items::small(2);
    let report = deliver(site.connector(), &request).await;
    let told = |fate: &Fate| matches!(fate, Fate::Deferred(_) | Fate::Failed(_));
    assert!(fates(&request, &report).iter().all(told), "{report:?}");
    assert!(site.arrived().is_empty());
}

pub(super) async fn usable_after_a_failed_delivery<F: Fixture>() {
    let site = F::start(FarEnd::Refusing).await.expect("every kind has a far end that can refuse");
    let connector = site.connector();
    let mut open_line = open(connector).await.ok();
    if let Some(connection) = open_line.take() {
        let (report, connection) = deliver_over(connector, connection, &items::small(1)).await;
        assert!(!matches!(fates(&items::small(1), &report)[0], Fate::Success(_)), "{report:?}");
        // What the report does not call broken or refused is used again.
        if !report.broken && report.refusal.is_none() {
            open_line = Some(connection);
        }
    }
    site.mend();
    let request = items::small(1);
    if let Some(connection) = open_line {
        let (report, connection) = deliver_over(connector, connection, &request).await;
        assert_success(&request, &report);
        close(connector, connection).await;
    }
    // What was in the way may be noticed to be gone a little later: it is asked again, as the queue would.
    let request = items::small(1);
    let mut report = deliver(connector, &request).await;
    let end = Instant::now() + PATIENCE;
    while report.refusal.is_some() && Instant::now() < end {
        tokio::task::yield_now().await;
        report = deliver(connector, &request).await;
    }
    assert_success(&request, &report);
}

/// Begins to deliver, looks after it so often, and drops it.
async fn begin_and_drop(connector: &Arc<dyn Connector>, looks: usize) {
    let mut connection = open(connector).await.ok().unwrap();
    on(connector, async move {
        let request = items::small(1);
        let mut delivery = connection.deliver(&request);
        for _ in 0..looks {
            let look = poll_fn(|context| Poll::Ready(delivery.as_mut().poll(context)));
            if look.await.is_ready() {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(super) async fn usable_after_a_dropped_delivery<F: Fixture>() {
    let site = live::<F>().await;
    for looks in 0..DROPS {
        begin_and_drop(site.connector(), looks).await;
    }
    let request = items::small(1);
    assert_success(&request, &deliver(site.connector(), &request).await);
    // One that waits for its far end, too.
    let Some(silent) = F::start(FarEnd::Silent).await else { return };
    let Ok(connection) = open(silent.connector()).await else { return };
    close(silent.connector(), connection).await;
    begin_and_drop(silent.connector(), DROPS).await;
}

pub(super) async fn content_arrives_byte_for_byte<F: Fixture>() {
    let site = live::<F>().await;
    let (_folder, path) = folder();
    let file = path.join("content");
    let large = b"Subject: large\r\n\r\nThe quick brown fox.\r\n".repeat(30_000);
    std::fs::write(&file, &large).unwrap();
    let all: Vec<u8> = (0..=255).collect();
    let contents: [&[u8]; 7] = [
        b"Subject: text\r\n\r\n.\r\n..dots\r\n.\r\n\r\nend\r\n",
        b"\r\n",
        b" begins with a space\r\n\r\n",
        b"Subject: 8 bit\r\n\r\nGr\xfc\xdfe \xff\xfe\r\n",
        b"Subject: lone\r\n\r\na\nb\rc\r\r\n\n\r\n",
        &[b"Subject: binary\r\n\r\n", &all[..], b"\r\n"].concat(),
        &large,
    ];
    let mut requests: Vec<_> = contents
        .iter()
        .map(|content| items::with_content(1, Bytes::copy_from_slice(content).into()))
        .collect();
    requests.push(items::with_content(1, Content::File { path: file, size: large.len() as u64 }));
    for (number, request) in requests.iter().enumerate() {
        let before = site.arrived().len();
        assert_success(request, &deliver(site.connector(), request).await);
        let arrived = site.arrived();
        assert_eq!(arrived.len(), before + 1, "content {number}");
        let expected = request.content.read_all().unwrap();
        let found = arrived.iter().any(|arrived| arrived.ends_with(&expected));
        assert!(found, "content {number} is not what arrived");
    }
}

pub(super) async fn the_state_tells<F: Fixture>() {
    let site = live::<F>().await;
    let request = items::small(1);
    assert_success(&request, &deliver(site.connector(), &request).await);
    assert_eq!(site.connector().state(), ConnectorState::Ready);
    let Some(site) = F::start(FarEnd::Unusable).await else { return };
    let report = deliver(site.connector(), &request).await;
    let ConnectorState::Disabled(reason) = site.connector().state() else { panic!("it is ready") };
    let fates = fates(&request, &report);
    let [Fate::Deferred(response)] = &fates[..] else { panic!("{report:?}") };
    assert!(
        !reason.is_empty() && response.text.contains(&reason),
        "{response}, and the state says {reason:?}"
    );
}

pub(super) async fn a_repeat_is_recognised<F: Fixture>() {
    let site = live::<F>().await;
    let mut request = items::small(2);
    assert_success(&request, &deliver(site.connector(), &request).await);
    let Some(before) = site.distinct() else { return };
    request.attempt += 1;
    assert_success(&request, &deliver(site.connector(), &request).await);
    assert_eq!((before, site.distinct()), (1, Some(1)));
    let other = items::small(2);
    assert_success(&other, &deliver(site.connector(), &other).await);
    assert_eq!(site.distinct(), Some(2), "another item is another one");
}

pub(super) async fn close_returns<F: Fixture>() {
    for far_end in [FarEnd::Live, FarEnd::Refusing, FarEnd::Silent] {
        let Some(site) = F::start(far_end).await else { continue };
        let Ok(connection) = open(site.connector()).await else { continue };
        close(site.connector(), connection).await;
        let Ok(connection) = open(site.connector()).await else { continue };
        let (_, connection) = deliver_over(site.connector(), connection, &items::small(1)).await;
        close(site.connector(), connection).await;
    }
}

pub(super) async fn connections_do_not_mix<F: Fixture>() {
    let site = Arc::new(live::<F>().await);
    let mut lines = JoinSet::new();
    for line in 0..3 {
        let site = site.clone();
        lines.spawn(async move {
            let mut connection = open(site.connector()).await.ok().unwrap();
            let mut report;
            for number in 0..5 {
                let content = format!("Subject: {line}/{number}\r\n\r\nhello\r\n");
                let request = items::with_content(1, Bytes::from(content).into());
                (report, connection) = deliver_over(site.connector(), connection, &request).await;
                assert_success(&request, &report);
            }
            close(site.connector(), connection).await;
        });
    }
    while let Some(ended) = lines.join_next().await {
        ended.unwrap();
    }
    let arrived = site.arrived();
    let subject = |content: &[u8]| {
        let text = String::from_utf8_lossy(content).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned))
    };
    let subjects: BTreeSet<String> = arrived.iter().filter_map(|content| subject(content)).collect();
    assert_eq!((arrived.len(), subjects.len()), (15, 15));
}

pub(super) async fn a_batch_has_one_report_per_item<F: Fixture>() {
    let site = live::<F>().await;
    let mut connection = open(site.connector()).await.ok().unwrap();
    let requests = [items::small(1), items::partly_done(), items::small(2)];
    let batch = requests.clone();
    let (reports, connection) = on(site.connector(), async move {
        let reports = connection.deliver_batch(&batch).await;
        (reports, connection)
    })
    .await;
    assert_eq!(reports.len(), requests.len());
    for (request, report) in requests.iter().zip(&reports) {
        assert_success(request, report);
        assert_eq!(report.outcomes.len(), request.recipients().count());
    }
    close(site.connector(), connection).await;
    assert_eq!(site.arrived().len(), requests.len());
}

pub(super) async fn a_poll_answers<F: Fixture>() {
    let site = live::<F>().await;
    let poller = site.connector().clone();
    let ids = ["conformance".to_owned()];
    let polled = on(site.connector(), async move { poller.poll_receipts(&ids).await }).await;
    if !site.connector().can_poll() {
        assert_eq!(polled, Ok(Vec::new()));
    }
}
