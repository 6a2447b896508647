use tcs::client_protocol;

struct Receipt;

#[client_protocol(request = "Ann")]
fn print(_: Receipt) {}

fn main() {}
