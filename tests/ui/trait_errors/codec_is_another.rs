use tcs::{client_protocol, framing::Codec};
use tokio_util::codec::{AnyDelimiterCodec, LinesCodec};

#[client_protocol(framing = Codec<AnyDelimiterCodec>, format = Codec<LinesCodec>, request = "")]
fn greet(reply: String) {
    println!("{reply}");
}

fn main() {}
