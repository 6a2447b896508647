#[tcs::client_protocol(request = |name: &str| name.)]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
