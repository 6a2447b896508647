use tcs::server_protocol;

#[server_protocol]
fn string(number: u32) -> String {
    number.to_string()
}

fn main() {}
