use tcs::server_protocol;

#[server_protocol(push = impl std::fmt::Display)]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
