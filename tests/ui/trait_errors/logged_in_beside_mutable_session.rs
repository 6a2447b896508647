use tcs::{ConnectionInfo, Rejection, protocol::FromSession, server_protocol};
struct User(u64);
impl<'a> FromSession<'a, Credit> for User {
    fn from_session(_: &Credit, id: &u64, _: &ConnectionInfo) -> Result<Self, Rejection> {
        Ok(Self(*id))
    }
}
#[server_protocol]
fn credit(_: &str, #[session] _id: &mut u64, _user: User) {}

fn main() {}
