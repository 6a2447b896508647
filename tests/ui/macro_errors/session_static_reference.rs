use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[session] sum: &'static mut u8) -> u8 {
    number + *sum
}

fn main() {}
