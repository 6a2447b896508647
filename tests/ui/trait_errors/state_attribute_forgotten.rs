use tcs::server_protocol;

struct Store;

#[server_protocol]
fn count(_: &str, _store: &Store) -> usize {
    1
}

fn main() {}
