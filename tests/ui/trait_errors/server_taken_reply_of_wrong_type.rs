use tcs::client_protocol;

#[tcs::server_protocol]
fn double(n: u32) -> u32 {
    n * 2
}

#[client_protocol(server = Double, reply = String)]
fn ask() -> u32 { 1 }

fn main() {}
