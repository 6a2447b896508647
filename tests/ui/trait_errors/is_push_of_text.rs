use tcs::server_protocol;

#[server_protocol(push = u8, is_push = str::is_empty)]
fn chat(line: &str) -> usize {
    line.len()
}

fn main() {}
