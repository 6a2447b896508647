use tcs::client_protocol;

#[client_protocol(request = |(a, b): (u8, u8)| a + b)]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
