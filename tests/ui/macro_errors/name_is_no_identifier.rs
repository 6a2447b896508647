#[tcs::server_protocol]
fn _٣(name: &str) {
    println!("{name}");
}

fn main() {}
