use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn done() -> bool {
    true
}

fn main() {}
