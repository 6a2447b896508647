use tcs::server_protocol;

#[server_protocol]
fn last(line: &str, #[session] last: &mut str) -> String {
    format!("{last}{line}")
}

fn main() {}
