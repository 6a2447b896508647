#[tcs::server_protocol(Greeter, Welcomer)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
