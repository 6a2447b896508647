use tcs::server_protocol;

mod shapes {
    pub struct Circle;
}
use shapes::Circle;

#[server_protocol]
fn circle(_: &str) {}

fn main() {}
