use tcs::client_protocol;

#[client_protocol(request = |name| name)]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
