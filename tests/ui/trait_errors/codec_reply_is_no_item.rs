use tcs::{Rejection, framing::Codec, server_protocol};
use tokio_util::codec::LinesCodec;

#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
fn greet(name: String) -> Rejection {
    Rejection::error(name)
}

fn main() {}
