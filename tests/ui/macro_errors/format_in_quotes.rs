use tcs::server_protocol;

#[server_protocol(format = "json")]
fn greet(_: &str) {}

fn main() {}
