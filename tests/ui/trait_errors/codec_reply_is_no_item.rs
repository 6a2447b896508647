use tcs::{Codec, Refusal, server_protocol};
use tokio_util::codec::LinesCodec;

#[server_protocol(framing = Codec<LinesCodec>, format = Codec<LinesCodec>)]
fn greet(name: String) -> Refusal {
    Refusal::error(name)
}

fn main() {}
