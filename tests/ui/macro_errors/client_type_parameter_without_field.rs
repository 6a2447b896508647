use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn read<T: std::str::FromStr>(reply: &str) -> Option<T> {
    reply.parse().ok()
}

fn main() {}
