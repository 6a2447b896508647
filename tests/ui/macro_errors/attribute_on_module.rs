use tcs::server_protocol;

#[server_protocol]
mod greet {}

fn main() {}
