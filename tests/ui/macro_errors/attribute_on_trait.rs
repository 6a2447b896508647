#[tcs::server_protocol]
trait Service {
    fn greet(name: &str) -> String;
}

fn main() {}
