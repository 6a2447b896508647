use tcs::server_protocol;

#[server_protocol(blocking)]
async fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
