use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[state(shared)] more: &u8) -> u8 {
    number + more
}

fn main() {}
