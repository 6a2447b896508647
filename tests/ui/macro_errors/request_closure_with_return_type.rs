use tcs::client_protocol;

#[client_protocol(request = |a: u8| -> u8 { a })]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
