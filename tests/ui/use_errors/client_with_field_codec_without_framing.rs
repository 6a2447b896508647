use tcs::{client_protocol, framing::Codec, protocol::ClientProtocol};
use tokio_util::codec::LinesCodec;

#[client_protocol(format = Codec<LinesCodec>, request = "")]
fn greet(_reply: String, _extra: u8) {}

fn main() {
    drop(Greet::new(1).prepare_request());
}
