use tcs::{ConnectionInfo, Rejection, protocol::FromSession, server_protocol};
struct User;
impl<'a> FromSession<'a, Login> for User {
    fn from_session(_: &Login, _: &u64, _: &ConnectionInfo) -> Result<Self, Rejection> {
        Ok(Self)
    }
}
#[server_protocol]
fn login(_: &str, #[session] _id: &u64, _user: User) {}
#[server_protocol]
fn credit(_: &str, #[session] _id: &u64, _user: User) {}
fn main() {}
