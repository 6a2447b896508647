use tcs::server_protocol;

struct Order;

impl tcs::format::Decode<'_, tcs::format::Plain> for Order {
    fn decode(_: tcs::format::Frame<'_>) -> Result<Self, tcs::format::DecodeError> { Ok(Order) }
}

#[server_protocol]
pub fn place(_: Order) {}

fn main() {}
