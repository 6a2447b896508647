use tcs::server_protocol;

#[server_protocol]
struct Greeter {
    name: String,
}

fn main() -> tcs::Result<()> {
    let name = String::new();
    tcs::ConcurrentServer::new(Greeter { name }).port(0).run()
}
