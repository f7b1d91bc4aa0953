//! Serving the connections of the call-back listener: each in a task of its own, on a seat of the house, under its deadlines.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::house::{House, Over, Seat};

/// Pause after `accept` failed (out of file descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests.
pub trait Answers: Send + Sync + 'static {
    /// The answer.
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send;
    /// A connection was ended by the host, or not taken: `silent`, `late`, `displaced`, `full`.
    fn turned_away(&self, what: &str);
}

/// Serves until told to stop; then requests that are being served are answered first.
pub async fn serve<A: Answers>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    house: Arc<House>,
    answers: Arc<A>,
    stop: CancellationToken,
) {
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // Those that are done are let go, so that the set does not grow.
            Some(_) = open.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the call-back listener cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        match house.enter() {
            Some(seat) => {
                let (tls, answers, stop) = (tls.clone(), answers.clone(), stop.clone());
                open.spawn(connection(stream, client, tls, Arc::new(seat), answers, stop));
            }
            None => answers.turned_away("full"),
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn connection<A: Answers>(
    stream: TcpStream,
    client: SocketAddr,
    tls: Option<TlsAcceptor>,
    seat: Arc<Seat>,
    answers: Arc<A>,
    stop: CancellationToken,
) {
    let served = async {
        let Some(tls) = tls else { return http(stream, &seat, &answers, &stop).await };
        match tls.accept(stream).await {
            Ok(stream) => http(stream, &seat, &answers, &stop).await,
            Err(error) => tracing::debug!(%client, %error, "a call-back's TLS handshake failed"),
        }
    };
    let over = tokio::select! {
        () = served => return,
        over = seat.over() => over,
    };
    let what = match over {
        Over::Idle => return,
        Over::Silent => "silent",
        Over::Late => "late",
        Over::Displaced => "displaced",
    };
    tracing::debug!(%client, what, "a connection to the call-back listener was ended");
    answers.turned_away(what);
}

async fn http<A: Answers>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    seat: &Arc<Seat>,
    answers: &Arc<A>,
    stop: &CancellationToken,
) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (seat, answers) = (seat.clone(), answers.clone());
        seat.serving();
        async move {
            let response = answers.answer(request.map(Body::new)).await;
            seat.answered();
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the call-back listener broke");
    }
}
