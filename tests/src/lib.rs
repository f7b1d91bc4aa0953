//! The tools of the end-to-end tests: the real `postern` process on one side, and real far ends on the other.
//!
//! The tests know the program, what it answers and the files that it leaves; no crate of the host is used but the SMTP
//! grammar, for reading replies and for the server that plays the smart host. Everything blocks and every far end has
//! threads of its own, so that a test reads from top to bottom. Each test has a folder and ports of its own.

pub mod cli;
pub mod dsn;
pub mod far_program;
pub mod gateway;
pub mod host;
pub mod http;
pub mod left_out;
pub mod message_centre;
pub mod messages;
pub mod modem;
pub mod multipart;
pub mod site;
pub mod smtp_client;
pub mod smtp_sink;
pub mod text_server;
pub mod wait;
pub mod webhook_server;

pub use cli::Answer;
pub use far_program::{GammuSmsd, Smsd};
pub use gateway::Gateway;
pub use host::Host;
pub use message_centre::MessageCentre;
pub use modem::Modem;
pub use site::Site;
pub use smtp_client::SmtpClient;
pub use smtp_sink::SmtpSink;
pub use text_server::TextServer;
pub use wait::eventually;
pub use webhook_server::WebhookServer;
