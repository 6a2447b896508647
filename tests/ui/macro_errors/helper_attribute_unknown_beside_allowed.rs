use tcs::server_protocol;

#[server_protocol]
fn greet(#[allow(unused_variables)] name: &str, #[shared] names: &u8) -> u8 {
    *names
}

fn main() {
    let _ = Greet { names: 7 };
}
