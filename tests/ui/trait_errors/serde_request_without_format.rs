use tcs::server_protocol;

#[derive(serde::Deserialize)]
struct Order<'a>(&'a str);

#[server_protocol]
fn place(order: Order<'_>) -> usize {
    order.0.len()
}

fn main() {}
