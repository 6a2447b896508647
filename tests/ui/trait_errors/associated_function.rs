use tcs::server_protocol;

struct Greeter;

impl Greeter {
    #[server_protocol]
    fn greet(name: &str) -> String {
        name.to_owned()
    }
}

fn main() {}
