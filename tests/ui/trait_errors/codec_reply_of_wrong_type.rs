use tcs::{framing::Codec, server_protocol};
use tokio_util::codec::LinesCodec;

#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
fn length(line: String) -> usize {
    line.len()
}

fn main() {}
