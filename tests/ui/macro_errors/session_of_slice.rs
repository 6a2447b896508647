use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[session] sums: &mut [u8]) -> u8 {
    sums.iter().sum::<u8>() + number
}

fn main() {}
