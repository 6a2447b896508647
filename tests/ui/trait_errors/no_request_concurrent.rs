use tcs::{framing::Lines, protocol::NoRequest, server_protocol};

#[server_protocol(framing = Lines, concurrent = 4)]
async fn daytime(_: NoRequest) -> String {
    String::new()
}

fn main() {}
