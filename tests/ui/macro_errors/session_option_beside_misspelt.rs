use tcs::server_protocol;

#[server_protocol(session = 7)]
fn count(add: u8, #[sesion] sum: &mut u8) -> u8 {
    *sum + add
}

fn main() {}
