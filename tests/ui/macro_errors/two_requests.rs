use tcs::server_protocol;

#[server_protocol]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

fn main() {}
