//! The HTTP doors of agents, `http.send` and `wasi:http`, beside a native client: GET requests over a kept connection to a server that is a process of
//! its own, so that its processor time is not counted.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use postern_agent::{Agent, AgentSpec, Grants, Runtime, RuntimeConfig};
use rustix::process::Pid;

use crate::agent_call::{delivered, request};
use crate::clock::process_cpu;
use crate::options::Scale;
use crate::row::{Bound, Row};
use crate::statistics::{median, median_ratio};
use crate::{Fallible, bench_agent, interrupt};

/// What the server answers with.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsent";

/// Runs the part; compiled agents are kept in `folder`.
pub fn run(folder: &Path, scale: &Scale) -> Fallible<Vec<Row>> {
    let server = Server::start()?;
    let mut config = RuntimeConfig::new(folder.join("agent-cache"));
    config.worker_threads = 1;
    let runtime = Runtime::new(config)?;
    let load = |component, settings: String| {
        let mut spec = AgentSpec::new(component, "bench");
        spec.settings = settings.into();
        spec.grants = Grants::parse(&[format!("http://{}/", server.address)], &[], &[])?;
        Fallible::Ok(runtime.load(spec)?)
    };
    let agent = load(bench_agent::gets(folder), format!("http://{}/fax x-bench=1", server.address))?;
    let wasi = load(bench_agent::gets_over_wasi(folder), format!("{}/fax", server.address))?;
    let (mut sends, mut wasis, mut natives) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..scale.rounds {
        let (agent, wasi, calls, address) = (agent.clone(), wasi.clone(), scale.calls, server.address);
        let handle = runtime.handle();
        let (native, send, wasi) = handle.block_on(handle.spawn(async move {
            let native = native_calls(address, calls).await?;
            let send = agent_calls(&agent, calls).await?;
            Fallible::Ok((native, send, agent_calls(&wasi, calls).await?))
        }))??;
        println!(
            "e: http.send {send:.1} us, wasi:http {wasi:.1} us, a native client {native:.1} us of CPU, round {}",
            round + 1
        );
        sends.push(send);
        wasis.push(wasi);
        natives.push(native);
    }
    let row = |what, ours: &[f64], goal| {
        Row::new(what, "native client (hyper), the same request")
            .with("ratio", median_ratio(ours, &natives), "")
            .with("CPU", median(ours), "us/call")
            .with("native CPU", median(&natives), "us/call")
            .goal("ratio", Bound::AtMost(goal))
    };
    Ok(vec![
        row("a delivery with one http.send, kept connection", &sends, 3.0),
        row("a delivery with one request over wasi:http, kept connection", &wasis, 8.0),
    ])
}

/// Microseconds of processor time for a delivery whose agent sends one request.
async fn agent_calls(agent: &Agent, calls: u32) -> Fallible<f64> {
    let request = request();
    let mut connection =
        agent.open(&request.item.next_hop).await.map_err(|refusal| format!("open: {refusal:?}"))?;
    delivered(&connection.deliver(&request).await)?;
    let start = process_cpu();
    for _ in 0..calls {
        delivered(&connection.deliver(&request).await)?;
    }
    let cost = per_call(start, calls);
    connection.close().await.map_err(|fault| format!("close: {fault:?}"))?;
    Ok(cost)
}

/// Microseconds of processor time for the same request of a native client.
async fn native_calls(server: SocketAddr, calls: u32) -> Fallible<f64> {
    let stream = tokio::net::TcpStream::connect(server).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    native_call(&mut sender, server).await?;
    let start = process_cpu();
    for _ in 0..calls {
        native_call(&mut sender, server).await?;
    }
    let cost = per_call(start, calls);
    drop(sender);
    connection.await??;
    Ok(cost)
}

async fn native_call(sender: &mut SendRequest<Empty<Bytes>>, server: SocketAddr) -> Fallible<()> {
    let request = hyper::Request::get("/fax").header("host", server.to_string()).header("x-bench", "1");
    let answer = sender.send_request(request.body(Empty::new())?).await?;
    let body = answer.into_body().collect().await?.to_bytes();
    if body.as_ref() == b"sent" { Ok(()) } else { Err(format!("the server said {body:?}").into()) }
}

fn per_call(start: Duration, calls: u32) -> f64 {
    process_cpu().saturating_sub(start).as_secs_f64() * 1e6 / f64::from(calls.max(1))
}

/// The server, a process of this program that ends with its standard input.
struct Server {
    child: Child,
    address: SocketAddr,
    _input: Option<ChildStdin>,
}

impl Server {
    fn start() -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        interrupt::started(Pid::from_child(&child));
        let input = child.stdin.take();
        let mut line = String::new();
        let output = child.stdout.take().ok_or("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()?, _input: input })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        interrupt::ended(Pid::from_child(&self.child));
    }
}

/// The verb `serve`: prints where it listens, and answers every request until standard input ends.
///
/// # Errors
/// When it cannot listen.
pub fn serve() -> Fallible<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            // A client that goes away is no fault.
            std::thread::spawn(move || drop(answer_all(stream)));
        }
    });
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}

fn answer_all(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut seen) = ([0; 4096], Vec::new());
    loop {
        let read = stream.read(&mut input)?;
        if read == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&input[..read]);
        // The requests have no body, so that their heads end them.
        while let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            seen.drain(..end + 4);
            stream.write_all(ANSWER)?;
        }
    }
}
