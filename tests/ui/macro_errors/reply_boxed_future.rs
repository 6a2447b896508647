use std::pin::Pin;

#[tcs::server_protocol]
fn greet(name: String) -> Pin<Box<dyn Future<Output = String> + Send>> {
    Box::pin(async { name })
}

fn main() {}
