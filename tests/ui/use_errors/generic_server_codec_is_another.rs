use tcs::{ConcurrentServer, framing::Codec, server_protocol};
use tokio_util::codec::{AnyDelimiterCodec, LinesCodec};

#[server_protocol(framing = Codec<AnyDelimiterCodec>, format = Codec<LinesCodec>)]
fn greet<T: Send + Sync + 'static>(name: String, #[state] _extra: &T) -> String {
    name
}

fn main() {
    drop(ConcurrentServer::new(Greet::new(1)).run());
}
