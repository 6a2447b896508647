use tcs::server_protocol;

#[server_protocol]
fn count(by: u64, #[state] total: &mut u64) -> u64 {
    *total += by;
    *total
}

fn main() {}
