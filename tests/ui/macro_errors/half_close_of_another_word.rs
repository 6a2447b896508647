use tcs::server_protocol;

#[server_protocol(half_close = close)]
async fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() {}
