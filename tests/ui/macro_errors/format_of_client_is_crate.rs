use tcs::{client::blocking::Connection, client_protocol};

#[client_protocol(request = (1, 2), format = rmp_serde)]
fn add(sums: (u8, u8)) -> u8 {
    sums.0
}

fn main() -> tcs::Result<()> {
    Connection::connect("localhost:7000")?.exchange(Add).map(drop)
}
