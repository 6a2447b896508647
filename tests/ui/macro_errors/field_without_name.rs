use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn print(reply: &str, _: u16) {
    println!("{reply}");
}

fn main() {}
