struct Greeter;

#[tcs::server_protocol]
impl Greeter {
    pub fn greet(&self, name: &str) -> String {
        name.to_owned()
    }
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Greeter).port(0).run()
}
