use tcs::client_protocol;

#[tcs::server_protocol]
fn double(n: u32) -> u32 {
    n * 2
}

#[client_protocol(server = Double, reply = u32)]
fn ask() -> i8 { 1 }

fn main() {}
