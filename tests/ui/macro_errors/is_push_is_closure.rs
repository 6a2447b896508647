use tcs::server_protocol;

#[server_protocol(push = u8, is_push = |message| true)]
fn chat(line: &str) -> String {
    line.to_owned()
}

fn main() {}
