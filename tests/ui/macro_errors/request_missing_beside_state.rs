use tcs::server_protocol;

#[server_protocol]
fn count(#[state] total: &u64) -> u64 {
    *total
}

fn main() {}
