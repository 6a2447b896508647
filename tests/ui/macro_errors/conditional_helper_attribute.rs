use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[cfg_attr(all(), state)] more: &u8) -> u8 {
    number + more
}

fn main() {}
