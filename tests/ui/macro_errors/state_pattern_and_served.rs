use tcs::{ConcurrentServer, server_protocol};

struct Names(Vec<String>);

#[server_protocol]
fn greet(name: &str, #[state] Names(names): &Names) -> String {
    format!("{name}{names:?}")
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Greet::new(Names(Vec::new()))).port(0).run()
}
