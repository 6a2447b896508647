use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn print(reply: &str, #[state] name: String) {
    println!("{name} {reply}");
}

fn main() {}
