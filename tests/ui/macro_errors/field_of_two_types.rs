use tcs::client_protocol;

#[client_protocol(request = |limit: u8| limit)]
fn print(reply: &str, limit: u16) {
    println!("{reply} {limit}");
}

fn main() {
    let _ = (tcs::Client::new(Print { limit: 1 }), print("a", 2));
}
