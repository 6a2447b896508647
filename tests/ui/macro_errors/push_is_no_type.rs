use tcs::server_protocol;

#[server_protocol(push = 3)]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
