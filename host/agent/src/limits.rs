//! Limits: what one agent may use. The table below is the one place where each limit has its name, which is also its key
//! in the config file, with its unit, its default and the range that an operator may choose from.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The longest range that one `item.read`, `item.read-part` or read from a TCP connection hands over, in bytes (the
/// contract's 256 KiB).
pub(crate) const MAX_READ: u32 = 256 * 1024;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// What the number of a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Milliseconds.
    Time,
}

/// A field of [`Limits`] as a number of its [`Unit`].
trait Quantity {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Quantity for u64 {
    fn of(number: u64) -> Self {
        number
    }

    fn number(&self) -> u64 {
        *self
    }
}

impl Quantity for u32 {
    fn of(number: u64) -> Self {
        Self::try_from(number).unwrap_or(Self::MAX)
    }

    fn number(&self) -> u64 {
        (*self).into()
    }
}

impl Quantity for usize {
    fn of(number: u64) -> Self {
        Self::try_from(number).unwrap_or(Self::MAX)
    }

    fn number(&self) -> u64 {
        *self as u64
    }
}

impl Quantity for Duration {
    fn of(number: u64) -> Self {
        Self::from_millis(number)
    }

    fn number(&self) -> u64 {
        u64::try_from(self.as_millis()).unwrap_or(u64::MAX)
    }
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident, $variant:ident: $type:ty, $unit:ident, $default:expr, $range:expr;)+) => {
        /// What one agent may use. Everything is per instance or per call, as each field says.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: Quantity::of($default),)+ }
            }
        }

        impl Limits {
            /// A limit's value in its unit; `None` for one that is not the agent's own ([`Limit::range`]).
            #[must_use]
            pub fn value(&self, limit: Limit) -> Option<u64> {
                match limit {
                    $(Limit::$variant => Some(self.$field.number()),)+
                    Limit::Instances | Limit::LargeInstances | Limit::ParseBudget | Limit::State => None,
                }
            }

            /// Sets a limit to a value in its unit. One that is not the agent's own is left alone.
            pub fn set(&mut self, limit: Limit, value: u64) {
                match limit {
                    $(Limit::$variant => self.$field = Quantity::of(value),)+
                    Limit::Instances | Limit::LargeInstances | Limit::ParseBudget | Limit::State => {}
                }
            }
        }

        /// One of the limits that hold for an agent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Limit {
            $($(#[doc = $doc])+ $variant,)+
            /// Live instances of all ordinary agents together; an open beyond it waits. Of the whole host.
            Instances,
            /// Live instances of all large agents together; an open beyond it waits. Of the whole host.
            LargeInstances,
            /// Memory for parsed messages, all agents together; a parse beyond it waits. Of the whole host.
            ParseBudget,
            /// Bytes of an agent's kept state. A grant.
            State,
        }

        impl Limit {
            /// All of them, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant,)+ Self::Instances, Self::LargeInstances, Self::ParseBudget, Self::State];

            /// Its name in reasons and metrics: its key in the connector's table `limits`, or a longer key that tells
            /// where else it is set.
            #[must_use]
            pub fn key(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($field),)+
                    Self::Instances => "host.max_agent_instances",
                    Self::LargeInstances => "host.max_large_agent_instances",
                    Self::ParseBudget => "host.agent_parse_budget",
                    Self::State => "grants.state",
                }
            }

            /// What its number counts.
            #[must_use]
            pub fn unit(self) -> Unit {
                match self {
                    $(Self::$variant => Unit::$unit,)+
                    Self::Instances | Self::LargeInstances => Unit::Count,
                    Self::ParseBudget | Self::State => Unit::Bytes,
                }
            }

            /// The least and the most that an operator may set in the connector's table `limits`; `None` for a limit
            /// that is set elsewhere.
            #[must_use]
            pub fn range(self) -> Option<RangeInclusive<u64>> {
                match self {
                    $(Self::$variant => Some($range),)+
                    Self::Instances | Self::LargeInstances | Self::ParseBudget | Self::State => None,
                }
            }
        }
    };
}

limits! {
    /// Linear memory of one instance, all memories together. Growth beyond it is refused. At most
    /// [`crate::RuntimeConfig::memory_ceiling`].
    memory, Memory: usize, Bytes, 64 * MIB, MIB..=256 * MIB;
    /// Elements of one instance's tables, all tables together. At most [`crate::RuntimeConfig::table_ceiling`].
    table_elements, TableElements: usize, Count, 100_000, 1..=100_000;
    /// Core instances that one instance may be made of (a Python component needs 64).
    core_instances, CoreInstances: usize, Count, 128, 1..=1000;
    /// Memories of one instance.
    memories, Memories: usize, Count, 16, 1..=100;
    /// Tables of one instance.
    tables, Tables: usize, Count, 64, 1..=1000;
    /// Component-model handles that the guest may hold (messages, connections).
    handles, Handles: usize, Count, 4096, 16..=100_000;
    /// Host-side resources behind those handles (connections, WASI streams and requests).
    resources, Resources: usize, Count, 1024, 1..=100_000;
    /// Processor time of one call, counted in epochs during which the guest was running.
    cpu, Cpu: Duration, Time, 10 * SECOND, 10..=DAY;
    /// Wall time of one call, waiting for the network and other host calls included (Exchange suggests 5 minutes).
    deadline, Deadline: Duration, Time, 5 * MINUTE, 10..=DAY;
    /// Wall time of `describe`, which is called when the agent is loaded.
    describe_deadline, DescribeDeadline: Duration, Time, 10 * SECOND, 10..=DAY;
    /// Wall time of `open-connection`, where `deadline` is not shorter.
    open_deadline, OpenDeadline: Duration, Time, 5 * MINUTE, 10..=DAY;
    /// Wall time of `close-connection`, where `deadline` is not shorter.
    close_deadline, CloseDeadline: Duration, Time, MINUTE, 10..=DAY;
    /// Wall time of `session.tick`, where `deadline` is not shorter.
    tick_deadline, TickDeadline: Duration, Time, MINUTE, 10..=DAY;
    /// Wall time of `receipts.poll`, where `deadline` is not shorter.
    poll_deadline, PollDeadline: Duration, Time, 5 * MINUTE, 10..=DAY;
    /// Wall time of `callback.handle`, where `deadline` is not shorter.
    callback_deadline, CallbackDeadline: Duration, Time, MINUTE, 10..=DAY;
    /// Wall time of `probe.did-it-arrive`, where `deadline` is not shorter.
    probe_deadline, ProbeDeadline: Duration, Time, MINUTE, 10..=DAY;
    /// How long a call that needs an instance waits for one of the host's.
    slot_wait, SlotWait: Duration, Time, 30 * SECOND, 0..=DAY;
    /// What the guest may hand over in one host call or one result: a whole HTTP request.
    host_call_bytes, HostCallBytes: usize, Bytes, 33 * MIB, 64 * KIB..=GIB;
    /// The component file.
    component_bytes, ComponentBytes: u64, Bytes, 64 * MIB, KIB..=GIB;
    /// `host.random` and random bytes of WASI in one call of it.
    random_bytes, RandomBytes: u32, Bytes, 64 * KIB, 0..=16 * MIB;
    /// One log line; longer ones are cut.
    log_line, LogLine: usize, Bytes, KIB, 16..=64 * KIB;
    /// Log lines of one call; the rest is counted and dropped.
    log_lines, LogLines: u32, Count, 200, 0..=100_000;
    /// Log lines of one instance in a second; the rest is counted and dropped.
    log_lines_per_second, LogLinesPerSecond: u32, Count, 100, 0..=100_000;
    /// What the agent calls the far end; longer is cut.
    label, Label: usize, Bytes, 256, 16..=256;
    /// The text of a response; longer is cut.
    text, Text: usize, Bytes, 512, 64..=512;
    /// Details of one recipient; the rest is dropped.
    details, Details: usize, Count, 16, 0..=16;
    /// The name or value of a detail, or a remote id; longer is cut.
    detail_text, DetailText: usize, Bytes, 256, 16..=256;
    /// Recipient outcomes of one call, early ones included; the rest is ignored.
    outcomes, Outcomes: usize, Count, 10_000, 1..=1_000_000;
    /// Receipts that one call may bring; the rest is ignored.
    receipts, Receipts: usize, Count, 10_000, 1..=1_000_000;
    /// Receipt ids of one recipient; an outcome with more is a deferral.
    receipt_ids, ReceiptIds: usize, Count, 64, 1..=1000;
    /// One receipt id; an outcome or receipt with a longer one is not believed.
    receipt_id, ReceiptId: usize, Bytes, 256, 16..=KIB;
    /// HTTP requests of one call.
    http_requests, HttpRequests: u32, Count, 100, 1..=100_000;
    /// The body of one HTTP request.
    http_request, HttpRequest: usize, Bytes, 32 * MIB, 0..=256 * MIB;
    /// The body of one HTTP response.
    http_response, HttpResponse: usize, Bytes, 16 * MIB, 0..=256 * MIB;
    /// Names and values of one HTTP request's header fields.
    http_header_bytes, HttpHeaderBytes: usize, Bytes, 32 * KIB, 0..=MIB;
    /// Header fields of one HTTP request.
    http_fields, HttpFields: usize, Count, 100, 1..=10_000;
    /// The URL of an HTTP request.
    http_url, HttpUrl: usize, Bytes, 8 * KIB, 16..=64 * KIB;
    /// How long to connect for HTTP, TLS not included.
    http_connect, HttpConnect: Duration, Time, 10 * SECOND, 10..=DAY;
    /// TCP connections of one instance that are open at once.
    tcp_open, TcpOpen: u32, Count, 8, 1..=10_000;
    /// Attempts to connect over TCP in one call.
    tcp_connects, TcpConnects: u32, Count, 100, 1..=100_000;
    /// What one call may read from TCP connections, all together.
    tcp_read, TcpRead: usize, Bytes, 16 * MIB, 0..=GIB;
    /// What one call may write to TCP connections, all together.
    tcp_written, TcpWritten: usize, Bytes, 32 * MIB, 0..=GIB;
    /// One line that is read from a TCP connection, its end not counted.
    tcp_line, TcpLine: usize, Bytes, 64 * KIB, 1..=16 * MIB;
    /// Files, folders and listings of one instance that are open at once; the granted folders themselves do not count.
    directory_open, DirectoryOpen: usize, Count, 32, 1..=500;
    /// Files and folders that one call may make.
    directory_made, DirectoryMade: u32, Count, 100, 0..=1_000_000;
    /// What one call may read from files, all together.
    directory_read, DirectoryRead: u64, Bytes, 64 * MIB, 0..=16 * GIB;
    /// What one call may write to files, all together.
    directory_written, DirectoryWritten: u64, Bytes, 64 * MIB, 0..=16 * GIB;
    /// The largest file that an agent may make.
    directory_file, DirectoryFile: u64, Bytes, 64 * MIB, 0..=16 * GIB;
    /// Entries of the folders that one instance has listings of, all together.
    directory_entries, DirectoryEntries: usize, Count, 10_000, 1..=100_000;
    /// One path.
    directory_path, DirectoryPath: usize, Bytes, KIB, 1..=4 * KIB;
    /// Recipients of one message that the agent hands in.
    inbound_recipients, InboundRecipients: usize, Count, 100, 1..=100_000;
    /// The content of one message that the agent hands in.
    inbound_bytes, InboundBytes: usize, Bytes, 25 * MIB, 0..=256 * MIB;
    /// The largest message that the parsed views (headers, text, parts) are made for.
    parse_bytes, ParseBytes: u64, Bytes, 64 * MIB, KIB..=2 * GIB;
    /// The memory that parsing one message is expected to need at most.
    parse_memory, ParseMemory: u64, Bytes, 192 * MIB, KIB..=8 * GIB;
    /// Messages within messages.
    parse_nesting, ParseNesting: usize, Count, 100, 0..=200;
    /// Parts of one message.
    parts, Parts: usize, Count, 1000, 1..=100_000;
    /// All header fields of one message, as the headers view gives them.
    header_view_bytes, HeaderViewBytes: usize, Bytes, MIB, KIB..=64 * MIB;
    /// The text view; longer texts are cut.
    text_view_bytes, TextViewBytes: usize, Bytes, MIB, 0..=64 * MIB;
    /// What one recording keeps in memory, the message's content included; the rest is left out.
    recording, Recording: usize, Bytes, 16 * MIB, KIB..=256 * MIB;
}

impl Limit {
    /// Whether what is beyond it is cut or dropped without harm to the delivery: the agent is not told, and it is no
    /// reason for a deferral.
    #[must_use]
    pub fn only_cuts(self) -> bool {
        matches!(
            self,
            Self::LogLine
                | Self::LogLines
                | Self::LogLinesPerSecond
                | Self::Label
                | Self::Text
                | Self::Details
                | Self::DetailText
                | Self::TextViewBytes
                | Self::Recording
                | Self::Instances
                | Self::LargeInstances
        )
    }

    /// The limit with a value in its unit, as reasons give it: `memory = 8388608 bytes`, `cpu = 10s`, `parts = 1000`.
    #[must_use]
    pub fn with(self, value: u64) -> Shown {
        Shown { limit: self, value }
    }
}

/// A limit with its value, to be written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    limit: Limit,
    value: u64,
}

impl Shown {
    /// Which it is.
    pub(crate) fn limit(self) -> Limit {
        self.limit
    }

    /// Its value, in its unit.
    pub(crate) fn value(self) -> u64 {
        self.value
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, value) = (self.limit.key(), self.value);
        match self.limit.unit() {
            Unit::Bytes => write!(f, "{key} = {value} bytes"),
            Unit::Count => write!(f, "{key} = {value}"),
            Unit::Time => write!(f, "{key} = {:?}", Duration::from_millis(value)),
        }
    }
}

impl Limits {
    /// A limit of the agent's own with its value, as reasons give it.
    pub(crate) fn shown(&self, limit: Limit) -> Shown {
        limit.with(self.value(limit).unwrap_or_default())
    }
}

/// How often each limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitCounts([u64; Limit::ALL.len()]);

impl Default for LimitCounts {
    fn default() -> Self {
        Self([0; Limit::ALL.len()])
    }
}

impl LimitCounts {
    /// Counts made by a function of each limit.
    pub(crate) fn from_fn(count: impl Fn(Limit) -> u64) -> Self {
        Self(std::array::from_fn(|at| count(Limit::ALL[at])))
    }

    /// How often this one was hit.
    #[must_use]
    pub fn of(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    /// Those that were hit, with how often.
    pub fn hit(&self) -> impl Iterator<Item = (Limit, u64)> {
        Limit::ALL.iter().map(|limit| (*limit, self.of(*limit))).filter(|(_, count)| *count > 0)
    }

    /// What was counted here and there.
    #[must_use]
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.add(other);
        self
    }

    /// Adds what was counted elsewhere.
    pub(crate) fn add(&mut self, more: &Self) {
        for (count, more) in self.0.iter_mut().zip(more.0) {
            *count += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_limit_has_a_name_of_its_own_and_a_default_within_its_range() {
        let names: BTreeSet<_> = Limit::ALL.iter().map(|limit| limit.key()).collect();
        assert_eq!(names.len(), Limit::ALL.len());
        for (at, limit) in Limit::ALL.iter().enumerate() {
            assert_eq!(*limit as usize, at, "{limit:?}");
            let default = Limits::default().value(*limit);
            assert_eq!(default.is_some(), limit.range().is_some(), "{limit:?}");
            let Some((default, range)) = default.zip(limit.range()) else { continue };
            assert!(range.contains(&default), "{limit:?}: {default}");
        }
    }

    #[test]
    fn a_limit_is_set_where_it_is_read() {
        for limit in Limit::ALL.iter().filter(|limit| limit.range().is_some()) {
            let mut limits = Limits::default();
            limits.set(*limit, 77);
            assert_eq!(limits.value(*limit), Some(77), "{limit:?}");
            limits.set(*limit, Limits::default().value(*limit).unwrap());
            assert_eq!(limits, Limits::default(), "{limit:?} set another one");
        }
    }

    #[test]
    fn a_limit_shows_itself_with_its_value() {
        let limits = Limits::default();
        assert_eq!(limits.shown(Limit::Memory).to_string(), "memory = 67108864 bytes");
        assert_eq!(limits.shown(Limit::Cpu).to_string(), "cpu = 10s");
        assert_eq!(limits.shown(Limit::Parts).to_string(), "parts = 1000");
        assert_eq!(Limit::State.with(5).to_string(), "grants.state = 5 bytes");
    }
}
