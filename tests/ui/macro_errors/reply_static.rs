use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn print(reply: &'static str) {
    println!("{reply}");
}

fn main() {
    let _ = (tcs::Client::new(Print), print("a"));
}
