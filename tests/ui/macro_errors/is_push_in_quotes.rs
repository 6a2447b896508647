use tcs::server_protocol;

#[server_protocol(push = u8, is_push = "is_event")]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
