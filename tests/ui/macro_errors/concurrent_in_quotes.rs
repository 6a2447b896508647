use tcs::server_protocol;

#[server_protocol(concurrent = "16")]
async fn greet(name: &str) -> String {
    format!("Hello, {name}!")
}

fn main() {}
