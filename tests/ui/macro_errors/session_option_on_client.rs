use tcs::client_protocol;

#[client_protocol(request = "Ann", session = 7)]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
