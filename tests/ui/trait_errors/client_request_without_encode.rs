use tcs::client_protocol;

#[client_protocol(request = Some("Ann"))]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
