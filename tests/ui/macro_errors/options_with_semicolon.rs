use tcs::{format::Json, framing::Lines, server_protocol};

#[derive(serde::Deserialize, serde::Serialize)]
struct Order(u32);

#[server_protocol(framing = Lines; format = Json)]
fn place(order: Order) -> Order {
    order
}

fn main() {}
