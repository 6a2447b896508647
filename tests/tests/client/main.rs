//! What clients promise, with servers of raw bytes.

mod backpressure;
mod blocking;
mod channel;
mod channel_events;
mod channel_failures;
mod client;
mod client_failures;
mod client_functions;
mod client_greetings;
mod client_operations;
mod client_rejections;
mod closing;
mod connecting;
mod encoding;
mod failed_writes;
mod hedges;
mod hostile;
mod lasting;
mod lasting_ends;
mod lasting_login;
mod lasting_soak;
mod lasting_upkeep;
mod late_calls;
mod multiplexed;
mod multiplexed_channel;
mod multiplexed_streams;
mod nested_deadlines;
#[cfg(target_os = "linux")]
mod over_each;
mod parts;
mod pipelining;
mod pipelining_failures;
mod pool;
mod pushed_events;
mod retries;
mod split;
mod stale_replies;
#[cfg(target_os = "linux")]
mod start_tls;
mod streamed_replies;
#[cfg(target_os = "linux")]
mod tls;
#[cfg(unix)]
mod unix;
mod uploads;
