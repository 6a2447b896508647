use tcs::server_protocol;

#[server_protocol(is_push = is_event)]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
