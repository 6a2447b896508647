use tcs::server_protocol;

use std::path::Path;

#[server_protocol]
fn is_there(name: &str, #[state] root: &Path) -> bool {
    root.join(name).exists()
}

fn main() {}
