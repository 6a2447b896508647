use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn print(reply: &str, name: impl std::fmt::Display) {
    println!("{name} {reply}");
}

fn main() {}
