use tcs::server_protocol;

#[server_protocol(session = struct)]
fn add(number: u8, #[session] sum: &mut u8) -> u8 {
    number + *sum
}

fn main() {}
