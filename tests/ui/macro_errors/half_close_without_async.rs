use tcs::server_protocol;

#[server_protocol(blocking, half_close = ends)]
fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() {}
