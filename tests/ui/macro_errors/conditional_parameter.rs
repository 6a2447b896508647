use tcs::server_protocol;

#[server_protocol]
fn add(number: u8, #[cfg(all())] more: u8) -> u8 {
    number + more
}

fn main() {}
