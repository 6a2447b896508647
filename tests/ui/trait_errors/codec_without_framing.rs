use tcs::{framing::Codec, server_protocol};
use tokio_util::codec::LinesCodec;

#[server_protocol(framing = tcs::framing::Lines, format = Codec<LinesCodec>)]
fn greet(name: String) -> String {
    name
}

fn main() {}
