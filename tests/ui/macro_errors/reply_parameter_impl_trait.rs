use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn print(reply: impl std::fmt::Display) {
    println!("{reply}");
}

fn main() {}
