//! The settings of all servers, with their defaults and the reasons, and the differences between
//! the three modes.

use std::{fmt, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{bound::BoundServer, listeners::DynListener};
use crate::{
    Address, Error,
    limit::{check_max_frame_len, check_zero},
    transport::DynHandshake,
};

/// Descriptors reserved for the rest of the program.
const RESERVED_DESCRIPTORS: u64 = 100;

/// Selects once, iterative or concurrent serving. The second parameter of
/// [`Server`](super::Server).
pub trait Mode: sealed::Mode {}

/// Serves one request. See [`OnceServer`](crate::OnceServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Once {}

/// Serves one connection at a time. See [`IterativeServer`](crate::IterativeServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Iterative {}

/// Serves many connections at a time. See [`ConcurrentServer`](crate::ConcurrentServer).
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it never gets a value")]
pub enum Concurrent {}

impl<M: sealed::Mode> Mode for M {}

mod sealed {
    use std::time::Duration;

    #[expect(unnameable_types, reason = "this seals the trait")]
    pub trait Mode: Send + 'static {
        /// The default of `idle_timeout`.
        const IDLE: Duration;
        /// Whether the server answers only one request.
        const IS_ONCE: bool = false;

        /// The default of `max_connections`. Only concurrent servers have this setting.
        const MAX_CONNECTIONS: usize = 1;
    }
}

impl sealed::Mode for Once {
    const IDLE: Duration = Duration::from_secs(30);
    const IS_ONCE: bool = true;
}

impl sealed::Mode for Iterative {
    /// Short, because an idle peer keeps all others waiting.
    const IDLE: Duration = Duration::from_secs(5);
}

impl sealed::Mode for Concurrent {
    /// Long, because clients keep connections.
    const IDLE: Duration = Duration::from_mins(5);

    const MAX_CONNECTIONS: usize = 1_024;
}

#[cfg_attr(
    all(unix, feature = "systemd"),
    expect(clippy::struct_excessive_bools, reason = "each is a setting")
)]
pub(super) struct Settings {
    pub(super) address: Address,
    /// Whether the server listens at `address`, although it has other listeners.
    pub(super) has_address: bool,
    /// The listeners besides that at `address`.
    pub(super) listeners: Vec<Box<dyn DynListener>>,
    /// The handshakes of connections to `address`.
    pub(super) handshakes: Vec<Arc<dyn DynHandshake>>,
    /// Whether other servers can listen at the same address.
    pub(super) reuse_port: bool,
    /// Whether systemd is told when the server accepts, and when it drains.
    #[cfg(all(unix, feature = "systemd"))]
    pub(super) notifies_systemd: bool,
    pub(super) max_connections: usize,
    /// Whether the descriptor limit may lower `max_connections`.
    pub(super) is_default_max: bool,
    pub(super) max_blocking: usize,
    pub(super) drain: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) on_listening: Option<OnListening>,
}

/// What systemd is told about the service.
#[derive(Clone, Copy, Debug)]
pub(super) enum ServiceState {
    Ready,
    Stopping,
}

pub(super) type OnListening = Box<dyn FnOnce(&BoundServer) + Send>;

/// The limits of one connection; [`Server`](super::Server) documents them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) frame_len: usize,
    pub(super) handshake: Limit,
    pub(super) idle: Limit,
    pub(super) frame: Limit,
    pub(super) request: Limit,
    pub(super) half_close: Limit,
    pub(super) write: Limit,
    pub(super) linger: Limit,
    /// How long a connection may process requests within one poll of its task.
    pub(super) poll_nanos: u64,
}

/// An optional time limit in milliseconds, the unit of the registry's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Limit(u64);

impl Limit {
    pub(super) const NONE: Self = Self(u64::MAX);

    pub(super) const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1_000)
    }

    /// Returns the limit in milliseconds, or `u64::MAX` if there is none.
    #[inline]
    pub(super) const fn as_millis(self) -> u64 {
        self.0
    }

    pub(super) const fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000)))
    }
}

/// Rounds up, so that a positive limit never becomes zero.
impl From<Option<Duration>> for Limit {
    fn from(limit: Option<Duration>) -> Self {
        limit.map_or(Self::NONE, |limit| {
            let milliseconds = limit.as_nanos().div_ceil(1_000_000);
            Self(u64::try_from(milliseconds).unwrap_or(u64::MAX))
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_millis(self.0))
    }
}

impl Settings {
    pub(super) fn new<M: Mode>() -> Self {
        Self {
            address: Address::localhost(),
            has_address: false,
            reuse_port: false,
            #[cfg(all(unix, feature = "systemd"))]
            notifies_systemd: false,
            listeners: Vec::new(),
            handshakes: Vec::new(),
            max_connections: M::MAX_CONNECTIONS,
            is_default_max: true,
            // The size of tokio's own pool of blocking threads.
            max_blocking: 512,
            drain: Some(Duration::from_secs(30)),
            limits: Limits {
                // The default of tokio-util's length-delimited codec. Memory follows the bytes that
                // arrive, not the claimed length.
                frame_len: 8 << 20,
                handshake: Limit::from_secs(10),
                idle: Some(M::IDLE).into(),
                // Stops peers that send a byte now and then. The allowance for received bytes lets
                // slow lines finish large frames.
                frame: Limit::from_secs(30),
                // Cutting a transaction is the user's decision.
                request: Limit::NONE,
                // A half-closed peer that waits for its reply looks like one that is gone.
                half_close: Limit::from_secs(30),
                write: Limit::from_secs(30),
                linger: Limit::from_secs(2),
                // Long enough for hundreds of cheap requests, too short to be noticed.
                poll_nanos: 100_000,
            },
            on_listening: None,
        }
    }

    /// Returns how many connections may be open. A default that needs more descriptors than the process may
    /// open is lowered.
    pub(super) fn effective_max_connections(&self) -> usize {
        let (most, room) = (self.max_connections, connections_of(descriptor_limit()));
        if room < most / 2 {
            tracing::warn!(
                max_connections = most,
                "the descriptor limit (`ulimit -n`) leaves room for {room} connections"
            );
        }
        if self.is_default_max {
            most.min(room)
        } else {
            most
        }
    }

    /// Tells systemd about the service, if the server is set to.
    pub(super) fn tell_systemd(&self, state: ServiceState) {
        #[cfg(all(unix, feature = "systemd"))]
        if self.notifies_systemd {
            let state = match state {
                ServiceState::Ready => sd_notify::NotifyState::Ready,
                ServiceState::Stopping => sd_notify::NotifyState::Stopping,
            };
            if let Err(error) = sd_notify::notify(&[state]) {
                tracing::warn!(%error, "cannot notify systemd");
            }
        }
        #[cfg(not(all(unix, feature = "systemd")))]
        let _ = (self, state);
    }

    /// Returns the semaphore that limits `blocking` functions.
    pub(super) fn blocking(&self) -> Arc<Semaphore> {
        Arc::new(Semaphore::new(
            self.max_blocking.min(Semaphore::MAX_PERMITS),
        ))
    }

    /// Rejects invalid values, for a framing whose shortest message has `min_frame_len` bytes.
    pub(super) fn check(&self, min_frame_len: usize) -> Result<(), Error> {
        let limits = &self.limits;
        // `linger` is not checked: zero means no wait.
        check_zero(&[
            ("max_frame_len", limits.frame_len == 0),
            ("max_connections", self.max_connections == 0),
            ("max_blocking", self.max_blocking == 0),
            ("handshake_timeout", limits.handshake.is_zero()),
            ("idle_timeout", limits.idle.is_zero()),
            ("frame_timeout", limits.frame.is_zero()),
            ("request_timeout", limits.request.is_zero()),
            ("half_close_timeout", limits.half_close.is_zero()),
            ("write_timeout", limits.write.is_zero()),
        ])?;
        check_max_frame_len(limits.frame_len, min_frame_len)
    }
}

impl Limits {
    /// Returns the shortest time limit. It sets the interval between sweeps.
    pub(super) fn shortest(&self) -> Limit {
        let Self {
            frame_len: _,
            handshake,
            idle,
            frame,
            request,
            half_close,
            write,
            linger,
            poll_nanos: _,
        } = *self;
        [handshake, idle, frame, request, half_close, write, linger]
            .into_iter()
            // `linger` may be zero, which means no wait.
            .filter(|limit| !limit.is_zero())
            .min()
            .unwrap_or(Limit::NONE)
    }
}

/// Returns the soft limit of descriptors (`RLIMIT_NOFILE`, getrlimit(2)).
fn descriptor_limit() -> u64 {
    #[cfg(unix)]
    let limit = rlimit::Resource::NOFILE.get_soft().ok();
    #[cfg(not(unix))]
    let limit = None;
    limit.unwrap_or(u64::MAX)
}

/// Returns the number of connections for which a descriptor limit leaves room, at least 1.
fn connections_of(descriptors: u64) -> usize {
    let left = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(1);
    usize::try_from(left).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_that_no_test_waits_for() {
        let settings = Settings::new::<Iterative>();
        assert_eq!(settings.drain, Some(Duration::from_secs(30)));
        assert_eq!(settings.max_blocking, 512);
        assert_eq!(settings.limits.request, Limit::NONE);
    }

    #[cfg(unix)]
    #[test]
    fn descriptor_limit_is_what_the_shell_tells() {
        let shell = std::process::Command::new("sh")
            .args(["-c", "ulimit -S -n"])
            .output();
        let told = String::from_utf8(shell.expect("a shell").stdout).expect("text");
        let descriptors = match told.trim() {
            "unlimited" => u64::MAX,
            number => number.parse().expect("a number"),
        };
        assert_eq!(descriptor_limit(), descriptors);
    }

    #[test]
    fn linger_of_zero_does_not_set_the_pace() {
        let mut limits = Settings::new::<Iterative>().limits;
        assert_eq!(limits.shortest(), Limit::from_secs(2));
        limits.linger = Limit::from_secs(0);
        assert_eq!(limits.shortest(), Limit::from_secs(5));
    }

    #[test]
    fn default_is_lowered_to_what_the_descriptor_limit_leaves() {
        for (descriptors, room) in [(0, 1), (100, 1), (102, 2), (1_024, 924)] {
            assert_eq!(connections_of(descriptors), room, "{descriptors}");
        }
        let mut settings = Settings::new::<Concurrent>();
        let room = connections_of(descriptor_limit());
        assert_eq!(settings.effective_max_connections(), room.min(1_024));
        settings.max_connections = usize::MAX;
        assert_eq!(settings.effective_max_connections(), room);
        settings.is_default_max = false;
        assert_eq!(settings.effective_max_connections(), usize::MAX);
        assert_eq!(Settings::new::<Iterative>().effective_max_connections(), 1);
    }
}
