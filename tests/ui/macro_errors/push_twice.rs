use tcs::server_protocol;

#[server_protocol(push = &str, framing = tcs::framing::Lines, push = u8)]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
