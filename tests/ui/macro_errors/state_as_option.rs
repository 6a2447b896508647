use tcs::{ConcurrentServer, server_protocol};

struct Db;

#[server_protocol(state = Db)]
fn find(name: &str, _db: &Db) -> usize {
    name.len()
}

fn main() -> tcs::Result<()> {
    ConcurrentServer::new(Find::new(Db)).port(1234).run()
}
