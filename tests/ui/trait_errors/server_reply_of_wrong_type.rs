use tcs::client_protocol;

#[tcs::server_protocol]
fn double(n: u32) -> u32 {
    n * 2
}

#[client_protocol(server = Double, request = 7u32)]
fn print(_: &str) {}

fn main() {}
