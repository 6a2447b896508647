use tcs::client_protocol;

#[tcs::server_protocol]
fn double(n: u32) -> u32 {
    n * 2
}

#[client_protocol(server = Double, request = "Ann")]
fn print(_: u32) {}

fn main() {}
