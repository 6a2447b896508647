use tcs::server_protocol;

#[server_protocol]
fn pick(name: &str, #[state] other: &u32, peer: &tcs::Peer) -> &str {
    if *other > 0 { name } else { "" }
}

fn main() {}
