use tcs::server_protocol;

struct Order;

#[server_protocol]
fn place(_: Order) -> u32 {
    1
}

fn main() {}
