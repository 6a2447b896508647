use tcs::server_protocol;

#[server_protocol(greeting = )]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
