use tcs::server_protocol;

#[server_protocol]
fn count(to: u32) -> Result<Box<dyn Iterator<Item = u32>>, String> {
    Ok(Box::new(0..to))
}

fn main() {}
