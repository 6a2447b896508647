use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[session] _sum: &mut impl Into<u8>) -> u8 {
    number
}

fn main() {}
