use tcs::server_protocol;

#[server_protocol]
fn last(line: &str, #[session] last: &mut Option<&str>) -> String {
    last.unwrap_or(line).to_owned()
}

fn main() {}
