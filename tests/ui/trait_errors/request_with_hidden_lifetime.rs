use tcs::server_protocol;

#[derive(Clone, Copy)]
struct Name<'a>(&'a str);

#[server_protocol]
fn greet(name: Name) -> usize {
    name.0.len()
}

fn main() {}
