use tcs::server_protocol;

#[derive(Default)]
struct Last<'a>(&'a str);

#[server_protocol]
fn keep(line: &str, #[session] last: &mut Last) -> usize {
    line.len() + last.0.len()
}

fn main() {}
