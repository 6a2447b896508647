use tcs::{framing::Multiplexed, protocol::NoRequest, server_protocol};

#[server_protocol(framing = Multiplexed)]
async fn daytime(_: NoRequest) -> String {
    String::new()
}

fn main() {}
