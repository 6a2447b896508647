use tcs::server_protocol;

#[server_protocol(name = Greeter)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
