use tcs::client_protocol;

#[client_protocol(String, request = "Ann")]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
