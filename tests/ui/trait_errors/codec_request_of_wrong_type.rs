use tcs::{framing::Codec, server_protocol};
use tokio_util::codec::LinesCodec;

#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
fn double(number: u64) -> String {
    (2 * number).to_string()
}

fn main() {}
