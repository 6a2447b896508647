use tcs::server_protocol;

#[server_protocol(format = Json, push = &str)]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
