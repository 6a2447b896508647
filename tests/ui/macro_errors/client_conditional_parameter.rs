use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn print(reply: &str, #[cfg(all())] name: String) {
    println!("{name} {reply}");
}

fn main() {}
