use tcs::server_protocol;

struct Store;

#[server_protocol]
fn count(_: &str, #[session] _seen: &mut u64, _store: &Store) {}

fn main() {}
