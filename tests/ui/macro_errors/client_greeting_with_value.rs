use tcs::client_protocol;

#[client_protocol(request = "Ann", greeting = "hello")]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
