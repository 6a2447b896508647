use tcs::server_protocol;

#[server_protocol(concurrent = 0)]
async fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() {}
