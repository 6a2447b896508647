use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[state] (a, b): &(u8, u8)) -> u8 {
    number + a + b
}

fn main() {}
