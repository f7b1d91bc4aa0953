//! The smart host of a send connector: an SMTP server in this process, with all extensions.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use postern_smtp::{EnhancedCode, Session, SessionConfig, Step, Verdict};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Connector, FarEnd, Fixture, connector, folder};

pub(super) struct SendSite {
    connector: Arc<dyn Connector>,
    sink: Arc<Sink>,
    _folder: TempDir,
    /// The server; or a port on which nobody answers.
    _server: JoinSet<()>,
}

#[derive(Default)]
struct Sink {
    refuses: AtomicBool,
    arrived: Mutex<Vec<Vec<u8>>>,
}

impl Fixture for SendSite {
    async fn start(far_end: FarEnd) -> Option<Self> {
        if far_end == FarEnd::Unusable {
            // It needs nothing but its far end.
            return None;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sink = Arc::new(Sink::default());
        sink.refuses.store(far_end == FarEnd::Refusing, Ordering::Relaxed);
        let mut server = JoinSet::new();
        match far_end {
            FarEnd::Dead => drop(listener),
            FarEnd::Silent => drop(server.spawn(async move {
                // Connections are made by the system, and nobody takes them.
                std::future::pending::<()>().await;
                drop(listener);
            })),
            _ => drop(server.spawn(serve(listener, sink.clone()))),
        }
        let (folder, path) = folder();
        let section = format!(
            "[send_connectors.subject]\naddress_spaces = [\"SMTP:*\"]\nsmart_hosts = [\"127.0.0.1:{port}\"]\n\
             connect_timeout = \"1s\"\ncommand_timeout = \"1s\"\ndata_timeout = \"10s\"\n"
        );
        let connector = connector(&path, &section).await;
        Some(Self { connector, sink, _folder: folder, _server: server })
    }

    fn connector(&self) -> &Arc<dyn Connector> {
        &self.connector
    }

    fn arrived(&self) -> Vec<Vec<u8>> {
        self.sink.arrived.lock().unwrap().clone()
    }

    /// SMTP has no word for it.
    fn distinct(&self) -> Option<usize> {
        None
    }

    fn mend(&self) {
        self.sink.refuses.store(false, Ordering::Relaxed);
    }
}

async fn serve(listener: TcpListener, sink: Arc<Sink>) {
    let config = Arc::new(SessionConfig::new("sink.example"));
    // Ends with this task, and all conversations with it.
    let mut conversations = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (session, sink) = (Session::new(config.clone()), sink.clone());
        conversations.spawn(async move {
            // A client that breaks off is none of its business.
            let _ = converse(stream, session, &sink).await;
        });
    }
}

async fn converse(mut stream: TcpStream, mut session: Session, sink: &Sink) -> io::Result<()> {
    let (mut input, mut output, mut content) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let mut rest: &[u8] = &input;
        let step = session.advance(&mut rest, &mut output, &mut content);
        let used = input.len() - rest.len();
        input.drain(..used);
        match step {
            Step::NeedInput => {
                stream.write_all(&output).await?;
                output.clear();
                if stream.read_buf(&mut input).await? == 0 {
                    return Ok(());
                }
            }
            Step::Mail(_) => session.answer(Verdict::accept()),
            Step::Recipient(_) if sink.refuses.load(Ordering::Relaxed) => {
                session.answer(Verdict::new(550, EnhancedCode::new(5, 7, 1), "not here"));
            }
            Step::Recipient(_) => session.answer(Verdict::accept()),
            Step::Message(_) => {
                sink.arrived.lock().unwrap().push(std::mem::take(&mut content));
                session.answer(Verdict::accept());
            }
            Step::Discard => content.clear(),
            Step::Close => {
                stream.write_all(&output).await?;
                return stream.shutdown().await;
            }
        }
    }
}
