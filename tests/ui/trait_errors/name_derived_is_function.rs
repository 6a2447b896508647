use tcs::server_protocol;

#[allow(non_snake_case)]
#[server_protocol]
fn Greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
