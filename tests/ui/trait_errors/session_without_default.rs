use tcs::server_protocol;

struct User;

#[server_protocol]
fn visit(_: &str, #[session] _: &mut User) -> bool {
    true
}

fn main() {}
