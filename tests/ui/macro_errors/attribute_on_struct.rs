use tcs::server_protocol;

#[server_protocol]
struct Greet {
    name: String,
}

fn main() {}
