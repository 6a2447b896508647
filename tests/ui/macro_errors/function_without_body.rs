use tcs::server_protocol;

trait Greeter {
    #[server_protocol]
    fn greet(name: &str) -> String;
}

fn main() {}
