//! The smart host: an SMTP server that remembers every message. It knows all mailboxes but those called `nobody`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use postern_smtp::{EnhancedCode, ForwardPath, ReceivedMessage, Session, SessionConfig, Step, Verdict};

use crate::wait::DEADLINE;

/// A message that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// The reverse-path; empty for the null one.
    pub sender: String,
    /// The recipients.
    pub recipients: Vec<String>,
    /// The bytes, as they came.
    pub content: Vec<u8>,
    /// The envelope with all its parameters.
    pub received: ReceivedMessage,
}

impl Arrived {
    /// The content as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// A server on a port of its own. Its threads end with the test.
pub struct SmtpSink {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    arrived: Mutex<Vec<Arrived>>,
    news: Condvar,
}

impl SmtpSink {
    /// Starts it with all extensions.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&SessionConfig::new("sink.example"))
    }

    /// Starts one that does not know DSN (RFC 3461), and so will never tell a sender that mail arrived.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start_without_dsn() -> Self {
        let mut config = SessionConfig::new("sink.example");
        config.extensions.dsn = false;
        Self::with(&config)
    }

    fn with(config: &SessionConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        let common = shared.clone();
        let config = Arc::new(config.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (common, session) = (common.clone(), Session::new(config.clone()));
                thread::spawn(move || serve(stream, session, &common));
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has arrived so far.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many messages have arrived, and returns all.
    ///
    /// # Panics
    /// When they do not arrive in time.
    #[must_use]
    pub fn wait_for(&self, count: usize) -> Vec<Arrived> {
        let arrived = self.shared.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.news.wait_timeout_while(arrived, DEADLINE, |all| all.len() < count);
        let all = waited.unwrap_or_else(PoisonError::into_inner).0.clone();
        assert!(all.len() >= count, "{} of {count} messages arrived at the smart host: {all:?}", all.len());
        all
    }
}

/// One connection; whatever breaks it ends it.
fn serve(mut stream: TcpStream, mut session: Session, shared: &Shared) {
    let (mut input, mut output, mut content) = (Vec::new(), Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let mut rest: &[u8] = &input;
        let step = session.advance(&mut rest, &mut output, &mut content);
        let used = input.len() - rest.len();
        input.drain(..used);
        match step {
            Step::NeedInput => {
                if stream.write_all(&output).is_err() {
                    return;
                }
                output.clear();
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => return,
                    Ok(count) => input.extend_from_slice(&buffer[..count]),
                }
            }
            Step::Mail(_) => session.answer(Verdict::accept()),
            Step::Recipient(request) => session.answer(match &request.forward_path {
                ForwardPath::Mailbox(mailbox) if mailbox.local_part() == "nobody" => {
                    Verdict::new(550, EnhancedCode::new(5, 1, 1), "there is nobody")
                }
                _ => Verdict::accept(),
            }),
            Step::Message(received) => {
                let arrived = Arrived {
                    sender: received.mail.reverse_path.to_string(),
                    recipients: received.recipients.iter().map(|r| r.forward_path.to_string()).collect(),
                    content: std::mem::take(&mut content),
                    received,
                };
                shared.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
                shared.news.notify_all();
                session.answer(Verdict::accept());
            }
            Step::Discard => content.clear(),
            Step::Close => {
                let _ = stream.write_all(&output);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
