use tcs::{Connection, format::{Decode, DecodeError, Frame, Plain}, framing::LengthPrefixed};

struct Order;
impl Decode<'_, Plain> for Order {
    fn decode(_: Frame<'_>) -> Result<Self, DecodeError> { Ok(Order) }
}
#[tcs::server_protocol]
fn place(_: Order) {}
pub async fn use_it(mut connection: Connection<LengthPrefixed>) {
    let _ = connection.call::<Place>(Order);
}
fn main() {}
