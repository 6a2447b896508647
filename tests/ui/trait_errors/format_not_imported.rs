use tcs::server_protocol;

#[server_protocol(format = Postcard)]
fn greet(_: &str) {}

fn main() {}
