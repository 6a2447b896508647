use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn print(reply: &str, #[field] name: String) {
    println!("{name} {reply}");
}

fn main() {}
