use tcs::server_protocol;

#[server_protocol]
fn log_in(#[secret] password: &str) -> bool {
    password == "1234"
}

fn main() {}
