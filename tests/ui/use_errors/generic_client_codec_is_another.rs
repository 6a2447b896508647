use tcs::{client_protocol, framing::Codec, protocol::ClientProtocol};
use tokio_util::codec::{AnyDelimiterCodec, LinesCodec};

#[client_protocol(framing = Codec<AnyDelimiterCodec>, format = Codec<LinesCodec>, request = "")]
fn greet<T: Send>(_reply: String, _extra: T) {}

fn main() {
    drop(Greet::new(1).prepare_request());
}
