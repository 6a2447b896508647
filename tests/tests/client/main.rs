//! What clients promise, with servers of raw bytes.

mod backpressure;
mod channel;
mod channel_failures;
mod client;
mod client_failures;
mod client_functions;
mod client_greetings;
mod client_operations;
mod client_rejections;
mod closing;
mod connecting;
mod pipelining;
mod pipelining_failures;
mod stale_replies;
#[cfg(target_os = "linux")]
mod tls;
#[cfg(unix)]
mod unix;
