use tcs::server_protocol;

#[server_protocol(push = &'a str)]
fn chat<'a>(line: &'a str) -> &'a str {
    line
}

fn main() {}
