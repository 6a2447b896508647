use tcs::server_protocol;

struct Order;

impl tcs::Decode<'_, tcs::Plain> for Order {
    fn decode(_: tcs::Frame<'_>) -> Result<Self, tcs::DecodeError> { Ok(Order) }
}

#[server_protocol]
pub fn place(_: Order) {}

fn main() {}
