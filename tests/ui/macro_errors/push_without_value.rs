use tcs::server_protocol;

#[server_protocol(push)]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
