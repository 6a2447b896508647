use tcs::server_protocol;

#[server_protocol(replies = [u8])]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
