use tcs::client_protocol;

#[client_protocol(request = "Ann", reply = String)]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
