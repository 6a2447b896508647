use tcs::{ConcurrentServer, server_protocol};

#[server_protocol(format = serde_json)]
fn add(numbers: (u8, u8)) -> Vec<u8> {
    vec![numbers.0, numbers.1]
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Add).port(0).run()
}
