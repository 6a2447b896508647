use tcs::client_protocol;

struct Greet;

#[client_protocol(request = "Ann")]
impl Greet {}

fn main() {}
