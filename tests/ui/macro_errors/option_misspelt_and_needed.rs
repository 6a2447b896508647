use tcs::{format::Json, server_protocol};

#[derive(serde::Deserialize, serde::Serialize)]
struct Order(u32);

#[server_protocol(frmat = Json)]
fn place(order: Order) -> Order {
    order
}

fn main() {}
