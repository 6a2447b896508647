use tcs::server_protocol;

#[server_protocol]
fn find(name: &str) -> Option<usize> {
    name.find('a')
}

fn main() {}
