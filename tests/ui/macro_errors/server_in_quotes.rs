use tcs::client_protocol;

#[client_protocol(server = "Greet", request = "Ann")]
fn print(reply: String) {
    println!("{reply}");
}

fn main() {}
