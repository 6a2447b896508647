use tcs::client_protocol;

#[client_protocol(request = "Ann")]
fn print(reply: &mut str) {
    println!("{reply}");
}

fn main() {}
