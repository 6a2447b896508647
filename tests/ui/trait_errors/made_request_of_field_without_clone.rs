use tcs::client_protocol;

struct Order;

#[client_protocol(reply = String)]
fn place(_order: Order) -> u32 {
    1
}

fn main() {}
