use tcs::server_protocol;

#[server_protocol(request = "Ann")]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
