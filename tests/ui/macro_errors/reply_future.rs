#[tcs::server_protocol]
fn greet(name: String) -> impl Future<Output = String> {
    async { name }
}

fn main() {}
