use tcs::server_protocol;

struct Refused;

#[server_protocol]
fn place(_: &str) -> Result<u32, Refused> {
    Err(Refused)
}

fn main() {}
