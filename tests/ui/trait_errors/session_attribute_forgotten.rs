use tcs::server_protocol;

struct Login;

#[server_protocol]
fn log_in(_: &str, _login: &mut Login) -> bool {
    true
}

fn main() {}
