use tcs::{ConnectionInfo, Rejection, format::Json, protocol::FromContext, server_protocol};

#[derive(serde::Serialize, serde::Deserialize)]
pub struct User(u32);
impl FromContext<'_> for User {
    fn from_context(_: &ConnectionInfo) -> Result<Self, Rejection> { Ok(Self(1)) }
}
#[server_protocol(format = Json)]
mod shop {
    pub fn buy(user: super::User) -> u32 { user.0 }
}
fn main() {}
