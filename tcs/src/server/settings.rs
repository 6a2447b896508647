//! The settings of all servers, with their defaults and the reasons.

use std::{sync::Arc, time::Duration};

use super::{
    admission::OnAccept,
    capacity::AtCapacity,
    limits::Limits,
    listeners::DynListener,
    mode::Mode,
    process::{connections_of, default_memory, descriptor_limit},
    registry::Registry,
    time::Limit,
    unbound::OnListening,
};
use crate::{
    Error,
    checks::{check_message_len, check_zero},
    conversation::ConversationLimits,
    socket::Keepalive,
    transport::{Address, DynHandshake},
};

pub(super) struct Settings {
    pub(super) address: Address,
    /// Whether the server listens at `address`, although it has other listeners.
    pub(super) has_address: bool,
    /// The listeners besides that at `address`.
    pub(super) listeners: Vec<Box<dyn DynListener>>,
    /// The handshakes of connections to `address`.
    pub(super) handshakes: Vec<Arc<dyn DynHandshake>>,
    /// The handshake after `Response::StartTls`.
    pub(super) start_tls: Option<Arc<dyn DynHandshake>>,
    /// Whether other servers can listen at the same address.
    pub(super) reuse_port: bool,
    /// After how long without an answer a peer's machine counts as gone.
    pub(super) keepalive_timeout: Option<Duration>,
    /// Whether systemd is told when the server accepts connections, and when it is stopped.
    pub(super) notifies_systemd: bool,
    /// `None`: the default, which the descriptor limit may lower.
    pub(super) max_connections: Option<usize>,
    pub(super) default_max_connections: usize,
    pub(super) at_capacity: AtCapacity,
    /// `None`: the default.
    pub(super) max_connections_per_address: Option<usize>,
    pub(super) max_blocking: usize,
    /// The memory budget in bytes. `None`: the result of [`default_memory`].
    pub(super) memory_budget: Option<usize>,
    pub(super) limits: Limits,
    pub(super) on_listening: Option<OnListening>,
    pub(super) on_accept: Option<OnAccept>,
}

impl Settings {
    pub(super) fn new<M: Mode>() -> Self {
        Self {
            address: Address::localhost(),
            has_address: false,
            reuse_port: false,
            // Shorter than `idle_timeout`, and long enough for a machine that changes its network.
            keepalive_timeout: Some(Duration::from_mins(2)),
            notifies_systemd: false,
            listeners: Vec::new(),
            handshakes: Vec::new(),
            start_tls: None,
            max_connections: None,
            default_max_connections: M::MAX_CONNECTIONS,
            at_capacity: AtCapacity::default(),
            max_connections_per_address: None,
            // The size of tokio's own pool of blocking threads.
            max_blocking: 512,
            memory_budget: None,
            limits: Limits {
                // The default of tokio-util's length-delimited codec. Memory follows the bytes that
                // arrive, not the claimed length.
                max_frame_len: ConversationLimits::DEFAULT.message_len,
                max_reply_len: None,
                handshake_timeout: Limit::from_secs(10),
                idle_timeout: Some(M::IDLE).into(),
                // Stops peers that send a byte now and then. The allowance for received bytes lets
                // slow lines finish large frames.
                frame_timeout: Limit::from_secs(30),
                // Cutting a transaction is the user's decision.
                request_timeout: Limit::NONE,
                // A half-closed peer that waits for its reply looks like one that is gone.
                half_close_timeout: Limit::from_secs(30),
                write_timeout: Limit::from_secs(30),
                linger: Limit::from_secs(2),
                drain_timeout: Limit::from_secs(30),
                // Only a balancer needs this phase, and its length depends on the checks of the balancer.
                lame_duck: Limit::from_secs(0),
                // The right values of these eight depend on the service and its peers.
                max_connection_age: Limit::NONE,
                max_queue_time: Limit::NONE,
                max_requests_per_connection: u64::MAX,
                max_pipelined_requests: u64::MAX,
                // The same number of bytes of replies waits before they are sent.
                max_push_queue: ConversationLimits::DEFAULT.push_queue,
                push_overflow: ConversationLimits::DEFAULT.push_overflow,
                max_in_flight_per_address: usize::MAX,
                max_request_rate_per_address: u32::MAX,
                // Long enough for hundreds of cheap requests, too short to be noticed.
                poll_nanos: 100_000,
            },
            on_listening: None,
            on_accept: None,
        }
    }

    /// Returns the maximum number of open connections. If the default needs more descriptors than the process may open,
    /// returns a lower number.
    pub(super) fn effective_max_connections(&self) -> usize {
        let default = self.default_max_connections;
        let most = self.max_connections.unwrap_or(default);
        let room = connections_of(descriptor_limit());
        if room < most / 2 {
            tracing::warn!(
                max_connections = most,
                "the descriptor limit (`ulimit -n`) leaves room for {room} connections"
            );
        }
        self.max_connections.unwrap_or(default.min(room))
    }

    /// Creates the registry of the server's connections.
    pub(super) fn registry(&self) -> Arc<Registry> {
        let memory = self.memory_budget.unwrap_or_else(default_memory);
        Registry::new(self.limits, memory, self.max_blocking)
    }

    /// Returns the maximum number of connections of one address.
    pub(super) fn max_per_address(&self, max_connections: usize) -> usize {
        let default = default_per_address(max_connections);
        self.max_connections_per_address.unwrap_or(default)
    }

    /// Rejects invalid values, for a framing whose shortest message has `min_frame_len` bytes.
    pub(super) fn check(&self, min_frame_len: usize) -> Result<(), Error> {
        let limits = &self.limits;
        // `linger`, `lame_duck` and `drain_timeout` are not checked: zero means no wait.
        check_zero(&limits.waits().map(|(name, limit)| (name, limit.is_zero())))?;
        check_zero(&[
            ("max_frame_len", limits.max_frame_len == 0),
            ("max_reply_len", limits.reply_len() == 0),
            ("max_connections", self.max_connections == Some(0)),
            (
                "max_connections_per_address",
                self.max_connections_per_address == Some(0),
            ),
            ("max_blocking", self.max_blocking == 0),
            ("memory_budget", self.memory_budget == Some(0)),
            (
                "keepalive_timeout",
                self.keepalive_timeout == Some(Duration::ZERO),
            ),
            ("max_queue_time", limits.max_queue_time.is_zero()),
            (
                "max_requests_per_connection",
                limits.max_requests_per_connection == 0,
            ),
            ("max_pipelined_requests", limits.max_pipelined_requests == 0),
            ("max_push_queue", limits.max_push_queue == 0),
            (
                "max_in_flight_per_address",
                limits.max_in_flight_per_address == 0,
            ),
            (
                "max_request_rate_per_address",
                limits.max_request_rate_per_address == 0,
            ),
        ])?;
        check_message_len("max_frame_len", limits.max_frame_len, min_frame_len)?;
        check_message_len("max_reply_len", limits.reply_len(), min_frame_len)
    }

    /// Returns the socket options of `keepalive_timeout`.
    pub(super) fn keepalive(&self) -> Option<Keepalive> {
        let limit = self.keepalive_timeout?;
        Some(Keepalive {
            limit,
            // This option also ends the connection of a peer that does not read, which `write_timeout` should decide.
            // On Linux, its time replaces the number of probes, so a longer time would delay the end after probes as
            // well.
            is_for_unacknowledged: self.limits.write_timeout <= Some(limit).into(),
        })
    }

    /// Returns `true` if the server listens at its address.
    pub(super) fn listens_at_address(&self) -> bool {
        self.has_address || self.listeners.is_empty()
    }
}

/// Returns a quarter of `max_connections`. A peer that takes a quarter leaves room for others, and most peers behind
/// one NAT need less.
fn default_per_address(max_connections: usize) -> usize {
    (max_connections / 4).max(1)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{
        super::{
            mode::{Concurrent, Iterative, Once},
            process::{RESERVED_DESCRIPTORS, memory_of},
        },
        *,
    };

    #[test]
    fn defaults_that_no_test_waits_for() {
        let settings = Settings::new::<Iterative>();
        assert_eq!(settings.limits.drain_timeout, Limit::from_secs(30));
        assert_eq!(settings.max_blocking, 512);
        assert_eq!(settings.at_capacity, AtCapacity::Wait);
        assert_eq!(settings.limits.request_timeout, Limit::NONE);
        assert_eq!(settings.limits.max_connection_age, Limit::NONE);
        assert!(!settings.limits.has_request_checks());
    }

    #[test]
    fn page_of_limits_has_the_default_of_each_setting() {
        let settings = Settings::new::<Concurrent>();
        let limits = settings.limits;
        let time = |limit: Limit| match limit.as_duration().as_secs() {
            seconds if limit != Limit::NONE && seconds > 0 => format!("{seconds} s"),
            _ => "`None`".to_owned(),
        };
        let extended = |limit| format!("{}; 1 s more per 64 KiB", time(limit));
        let idle = |limits: Limits| time(limits.idle_timeout);
        let others = [Settings::new::<Iterative>(), Settings::new::<Once>()];
        let [iterative, once] = others.map(|settings| idle(settings.limits));
        let (most, per_address) = (
            settings.default_max_connections,
            [2, 1_024].map(default_per_address),
        );
        assert_eq!(per_address, [1, 256]);
        let unset = [
            settings.max_connections_per_address.is_none(),
            settings.on_accept.is_none(),
            limits.max_reply_len.is_none(),
            limits.max_requests_per_connection == u64::MAX,
            limits.max_pipelined_requests == u64::MAX,
            limits.max_in_flight_per_address == usize::MAX,
            limits.max_request_rate_per_address == u32::MAX,
            settings.start_tls.is_none(),
        ];
        assert_eq!(unset, [true; 8]);
        assert_eq!(settings.address, Address::from("127.0.0.1:1234"));
        let keepalive = settings.keepalive_timeout.expect("it is on").as_secs();
        let defaults = [
            (
                "max_connections",
                format!(
                    "{},{:03}, or the descriptor limit minus {RESERVED_DESCRIPTORS} if that is lower",
                    most / 1_000,
                    most % 1_000
                ),
            ),
            (
                "at_capacity",
                format!("`AtCapacity::{:?}`", settings.at_capacity),
            ),
            (
                "max_connections_per_address",
                "a quarter of `max_connections`, at least 1".to_owned(),
            ),
            ("on_accept", "none".to_owned()),
            ("max_connection_age", time(limits.max_connection_age)),
            ("max_requests_per_connection", "`None`".to_owned()),
            (
                "idle_timeout",
                format!("{}; iterative {iterative}; once {once}", idle(limits)),
            ),
            ("keepalive_timeout", format!("{} minutes", keepalive / 60)),
            ("handshake_timeout", time(limits.handshake_timeout)),
            ("lame_duck", time(limits.lame_duck)),
            ("drain_timeout", time(limits.drain_timeout)),
            ("linger", time(limits.linger)),
            (
                "max_frame_len",
                format!("{} MiB", limits.max_frame_len >> 20),
            ),
            ("max_reply_len", "`max_frame_len`".to_owned()),
            (
                "memory_budget",
                format!(
                    "{} MiB, or a quarter of the memory that the process may use if that is less",
                    memory_of([None; 2]) >> 20
                ),
            ),
            ("max_request_rate_per_address", "`None`".to_owned()),
            ("max_in_flight_per_address", "`None`".to_owned()),
            ("max_queue_time", time(limits.max_queue_time)),
            ("max_pipelined_requests", "`None`".to_owned()),
            (
                "max_push_queue",
                format!("{} KiB", limits.max_push_queue >> 10),
            ),
            ("max_blocking", settings.max_blocking.to_string()),
            ("frame_timeout", extended(limits.frame_timeout)),
            ("request_timeout", time(limits.request_timeout)),
            ("half_close_timeout", time(limits.half_close_timeout)),
            ("write_timeout", extended(limits.write_timeout)),
            ("address", "127.0.0.1:1234".to_owned()),
            ("host", "127.0.0.1".to_owned()),
            ("port", "1234".to_owned()),
            ("reuse_port", format!("`{}`", settings.reuse_port)),
            ("start_tls", "none".to_owned()),
            (
                "push_overflow",
                format!("`PushOverflow::{:?}`", limits.push_overflow),
            ),
        ];
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/limits.md");
        let page = fs::read_to_string(page).expect("it is in the repository");
        let rows = page.lines().filter_map(|row| {
            let (name, rest) = row.strip_prefix("| `")?.split_once("` | ")?;
            Some((name, rest.split(" | ").next()?.to_owned()))
        });
        assert_eq!(rows.collect::<Vec<_>>(), defaults);
    }

    #[test]
    fn default_is_lowered_to_what_the_descriptor_limit_leaves() {
        let mut settings = Settings::new::<Concurrent>();
        let room = connections_of(descriptor_limit());
        assert_eq!(settings.effective_max_connections(), room.min(1_024));
        settings.default_max_connections = usize::MAX;
        assert_eq!(settings.effective_max_connections(), room);
        settings.max_connections = Some(usize::MAX);
        assert_eq!(settings.effective_max_connections(), usize::MAX);
        assert_eq!(Settings::new::<Iterative>().effective_max_connections(), 1);
    }
}
