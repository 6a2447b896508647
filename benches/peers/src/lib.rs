//! The peers: each an echo, with its defaults and `TCP_NODELAY`.

pub mod http;
pub mod rpc;
pub mod tonic;
