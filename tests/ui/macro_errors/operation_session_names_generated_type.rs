#[derive(Default)]
struct Protocol;

#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use super::*;
    pub fn add(#[session] _of: &mut Option<Protocol>) {}
}

fn main() {}
