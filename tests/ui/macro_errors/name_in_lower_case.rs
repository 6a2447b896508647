use tcs::server_protocol;

#[server_protocol(loud_greeter)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
