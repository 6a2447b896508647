use tcs::server_protocol;

#[server_protocol(rename = "Greeter")]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Greeter).port(1234).run()
}
