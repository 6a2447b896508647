use tcs::{ConnectionInfo, Rejection, format::Json, protocol::FromSession, server_protocol};
pub struct User(u64);
impl<'a> FromSession<'a, shop::Protocol> for User {
    fn from_session(_: &shop::Protocol, id: &u64, _: &ConnectionInfo) -> Result<Self, Rejection> {
        Ok(Self(*id))
    }
}
#[server_protocol(format = Json)]
mod shop {
    pub fn buy(#[session] _id: &mut u64, #[context] _user: super::User) {}
}
fn main() {}
