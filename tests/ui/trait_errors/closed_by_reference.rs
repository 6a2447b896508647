use tcs::{protocol::Closed, server_protocol};

#[server_protocol]
async fn wait(_: (), closed: &Closed<'_>) -> bool {
    closed.is_closed()
}

fn main() {}
