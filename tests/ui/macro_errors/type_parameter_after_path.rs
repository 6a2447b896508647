use tcs::server_protocol;

mod other {
    pub struct S;
}

#[server_protocol]
fn greet<S>(name: &str, #[state] state: &other::S) -> String {
    name.to_owned()
}

fn main() {}
