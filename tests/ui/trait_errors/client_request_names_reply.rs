use tcs::client_protocol;

#[client_protocol(request = reply)]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
