use tcs::server_protocol;

#[server_protocol]
fn add(n: u8, #[session] sum: &mut u8, #[session] count: &mut u8) -> u8 {
    *sum += n;
    *count += 1;
    *sum
}

fn main() {}
