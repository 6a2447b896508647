use tcs::server_protocol;

struct Names<'n>(&'n str);

#[server_protocol]
fn greet(name: &str, #[state] names: &Names<'_>) -> String {
    format!("{name} {}", names.0)
}

fn main() {}
