use tcs::server_protocol;

#[server_protocol(session = name.len())]
fn visit(name: &str, #[session] length: &mut usize) -> bool {
    *length == name.len()
}

fn main() {}
