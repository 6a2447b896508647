use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn stop(reply: &str) -> ! {
    panic!("{reply}")
}

fn main() {}
