use tcs::client_protocol;

#[client_protocol]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
