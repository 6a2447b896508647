//! What codecs of `tokio_util` are used for.

mod clients;
mod failures;
mod servers;
