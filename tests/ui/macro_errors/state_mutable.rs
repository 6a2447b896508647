use tcs::server_protocol;

#[server_protocol]
fn count(by: u64, #[state] total: &mut u64) -> u64 {
    *total += by;
    *total
}

fn main() {
    let _ = (tcs::OnceServer::new(Count::new(1)), count(1, &mut 2));
}
