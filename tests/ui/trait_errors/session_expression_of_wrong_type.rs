use tcs::server_protocol;

#[server_protocol(session = "no number")]
fn visit(_: &str, #[session] count: &mut u32) -> u32 {
    *count
}

fn main() {}
