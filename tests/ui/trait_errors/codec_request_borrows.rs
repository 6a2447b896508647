use tcs::{framing::Codec, server_protocol};
use tokio_util::codec::LinesCodec;

#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
