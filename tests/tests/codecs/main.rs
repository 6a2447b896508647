//! What codecs of `tokio_util` are used for.

mod codec;
mod codec_client;
mod codec_failures;
