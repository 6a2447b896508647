//! What carries the bytes of a server's connections: listeners, handshakes, Unix sockets and TLS.

mod handshakes;
mod listeners;
#[cfg(target_os = "linux")]
mod start_tls;
#[cfg(target_os = "linux")]
mod tls;
#[cfg(unix)]
mod unix;
