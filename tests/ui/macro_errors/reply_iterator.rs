#[tcs::server_protocol(format = tcs::format::Json)]
fn count(to: u32) -> impl Iterator<Item = u32> {
    0..to
}

fn main() {}
