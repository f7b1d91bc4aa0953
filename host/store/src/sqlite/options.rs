//! SqliteOptions: the limits and sizes of the embedded store.

use crate::QueueIndex;

/// Limits and sizes of a [`super::SqliteStore`].
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// Contents of this many bytes and more are files of their own beside the database. Default 256 KiB.
    pub inline_limit: u64,
    /// Bytes of new messages kept in memory for their first attempt. Default 64 MiB.
    pub fresh_bytes: u64,
    /// Free bytes on the file system below which no message is taken; settlements still are. Default 64 MiB.
    pub reserve: u64,
    /// The database takes no message once it uses this many pages of [`Self::PAGE_SIZE`] bytes; `None`: no limit.
    pub max_pages: Option<u32>,
    /// Pages beyond [`Self::max_pages`] that settlements may still use. Default 1,024.
    pub settle_pages: u32,
    /// Bytes of messages that may wait for the writer; a message beyond is refused as [`crate::StoreError::Full`],
    /// since a sender that is told to come again is better than memory without an end. Default 64 MiB.
    pub max_waiting: u64,
    /// Bytes of write-ahead log from which it is copied into the database when nothing waits. At four times as many
    /// it is copied in any case. Default 16 MiB.
    pub log_bytes: u64,
    /// Free pages that the database keeps for what comes; more are given back when it is idle. Default 4,096.
    pub spare_pages: u32,
    /// Bytes of database pages that the writer keeps in memory. Default 32 MiB.
    pub cache_bytes: u64,
    /// Threads that read. Default 2.
    pub readers: usize,
    /// Receipts that are remembered when nobody waits for them any longer, those of all connectors together; the
    /// oldest is forgotten for each new one. 0: none. Default 100,000, which is about 30 MB.
    pub receipt_memory: u32,
}

impl SqliteOptions {
    /// Bytes of a database page, for databases made from now on. A message of 5 KB with its envelope fits into one.
    pub const PAGE_SIZE: u32 = 8192;
    /// Most writes that go into one commit.
    pub const MAX_GROUP: usize = 1024;
    /// Bytes from which a commit takes no further write.
    pub const MAX_GROUP_BYTES: usize = 8 << 20;
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            inline_limit: 256 << 10,
            fresh_bytes: QueueIndex::FRESH_BYTES,
            reserve: 64 << 20,
            max_pages: None,
            settle_pages: 1024,
            max_waiting: 64 << 20,
            log_bytes: 16 << 20,
            spare_pages: 4096,
            cache_bytes: 32 << 20,
            readers: 2,
            receipt_memory: 100_000,
        }
    }
}
