use tcs::server_protocol;

#[server_protocol(event = &str)]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
