use tcs::client_protocol;

struct Greeter;

impl Greeter {
    #[client_protocol(request = "Ann")]
    fn print(&self, _reply: &str) {}
}

fn main() {}
