//! Limits: what one agent may use, each with a name and a default.

use std::time::Duration;

/// The longest range that one `item.read`, `item.read-part` or read from a TCP connection hands over, in bytes (the
/// contract's 256 KiB).
pub(crate) const MAX_READ: u32 = 256 * 1024;

/// What one agent may use. Everything is per instance or per call, as each field says; sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance, all memories together. Growth beyond it is refused. Default 64 MiB; at most
    /// [`crate::RuntimeConfig::memory_ceiling`].
    pub memory: usize,
    /// Elements of one instance's tables, all tables together. Default 100 000; at most
    /// [`crate::RuntimeConfig::table_ceiling`].
    pub table_elements: usize,
    /// Core instances that one instance may be made of. Default 128 (a Python component needs 64).
    pub core_instances: usize,
    /// Memories of one instance. Default 16.
    pub memories: usize,
    /// Tables of one instance. Default 64.
    pub tables: usize,
    /// Component-model handles that the guest may hold. Default 4096.
    pub handles: usize,
    /// Host-side resources behind those handles (WASI streams, requests, ...). Default 1024.
    pub resources: usize,
    /// Processor time of one call, counted in epochs during which the guest was running. Default 10 s.
    pub cpu: Duration,
    /// Wall time of one call, waiting for the network and other host calls included. Default 5 min.
    pub deadline: Duration,
    /// Wall time of `describe`, which is called when the agent is loaded. Default 10 s.
    pub describe_deadline: Duration,
    /// How long an open waits for one of the host's instances. Default 30 s.
    pub slot_wait: Duration,
    /// What the guest may hand over in one host call or one result. Default 33 MiB: a whole HTTP request.
    pub host_call_bytes: usize,
    /// The component file. Default 64 MiB.
    pub component_bytes: u64,
    /// `host.random` in one call. Default 64 KiB.
    pub random_bytes: u32,
    /// One log line; longer ones are cut. Default 1024.
    pub log_line: usize,
    /// Log lines of one call; the rest is counted and dropped. Default 200.
    pub log_lines_per_call: u32,
    /// Log lines of one instance in a second; the rest is counted and dropped. Default 100.
    pub log_lines_per_second: u32,
    /// Recipient outcomes of one call, early ones included; the rest is ignored. Default 10 000.
    pub outcomes: usize,
    /// Receipts that one call may bring. Default 10 000.
    pub receipts: usize,
    /// Receipt ids of one recipient. Default 64.
    pub receipt_ids: usize,
    /// One receipt id; an outcome or receipt with a longer one is not believed. Default 256.
    pub receipt_id: usize,
    /// HTTP requests of one call. Default 100.
    pub http_requests: u32,
    /// The body of one HTTP request. Default 32 MiB.
    pub http_request_bytes: usize,
    /// The body of one HTTP response. Default 16 MiB.
    pub http_response_bytes: usize,
    /// Names and values of one HTTP request's header fields. Default 32 KiB.
    pub http_header_bytes: usize,
    /// The URL of an HTTP request. Default 8 KiB.
    pub http_url: usize,
    /// How long to connect, TLS not included. Default 10 s.
    pub http_connect: Duration,
    /// TCP connections of one instance that are open at once. Default 8.
    pub tcp_open: u32,
    /// Attempts to connect over TCP in one call. Default 100.
    pub tcp_connects: u32,
    /// What one call may read from TCP connections, all together. Default 16 MiB.
    pub tcp_read: usize,
    /// What one call may write to TCP connections, all together. Default 32 MiB.
    pub tcp_written: usize,
    /// One line that is read from a TCP connection, its end not counted. Default 64 KiB.
    pub tcp_line: usize,
    /// Files, folders and listings of one instance that are open at once; the granted folders themselves do not count.
    /// Default 32.
    pub directory_open: usize,
    /// Files and folders that one call may make. Default 100.
    pub directory_made: u32,
    /// What one call may read from files, all together. Default 64 MiB.
    pub directory_read: u64,
    /// What one call may write to files, all together. Default 64 MiB.
    pub directory_written: u64,
    /// The largest file that an agent may make. Default 64 MiB.
    pub directory_file: u64,
    /// Entries of the folders that one instance has listings of, all together. Default 10 000.
    pub directory_entries: usize,
    /// One path, in bytes. Default 1024.
    pub directory_path: usize,
    /// Recipients of one message that the agent hands in. Default 100.
    pub inbound_recipients: usize,
    /// The content of one message that the agent hands in. Default 25 MiB.
    pub inbound_bytes: usize,
    /// The largest message that the parsed views (headers, text, parts) are made for. Default 64 MiB.
    pub parse_bytes: u64,
    /// The memory that parsing one message is expected to need at most. Default 192 MiB.
    pub parse_memory: u64,
    /// Messages within messages. Default 100.
    pub parse_nesting: usize,
    /// Parts of one message. Default 1000.
    pub parts: usize,
    /// All header fields of one message, as the headers view gives them. Default 1 MiB.
    pub header_view_bytes: usize,
    /// The text view. Default 1 MiB.
    pub text_view_bytes: usize,
}

const MIB: usize = 1024 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 64 * MIB,
            table_elements: 100_000,
            core_instances: 128,
            memories: 16,
            tables: 64,
            handles: 4096,
            resources: 1024,
            cpu: Duration::from_secs(10),
            deadline: Duration::from_secs(300),
            describe_deadline: Duration::from_secs(10),
            slot_wait: Duration::from_secs(30),
            host_call_bytes: 33 * MIB,
            component_bytes: 64 * MIB as u64,
            random_bytes: 64 * 1024,
            log_line: 1024,
            log_lines_per_call: 200,
            log_lines_per_second: 100,
            outcomes: 10_000,
            receipts: 10_000,
            receipt_ids: 64,
            receipt_id: 256,
            http_requests: 100,
            http_request_bytes: 32 * MIB,
            http_response_bytes: 16 * MIB,
            http_header_bytes: 32 * 1024,
            http_url: 8 * 1024,
            http_connect: Duration::from_secs(10),
            tcp_open: 8,
            tcp_connects: 100,
            tcp_read: 16 * MIB,
            tcp_written: 32 * MIB,
            tcp_line: 64 * 1024,
            directory_open: 32,
            directory_made: 100,
            directory_read: 64 * MIB as u64,
            directory_written: 64 * MIB as u64,
            directory_file: 64 * MIB as u64,
            directory_entries: 10_000,
            directory_path: 1024,
            inbound_recipients: 100,
            inbound_bytes: 25 * MIB,
            parse_bytes: 64 * MIB as u64,
            parse_memory: 192 * MIB as u64,
            parse_nesting: 100,
            parts: 1000,
            header_view_bytes: MIB,
            text_view_bytes: MIB,
        }
    }
}
