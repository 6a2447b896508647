use tcs::client_protocol;

#[client_protocol(request = "Ann")]
#[idempotent]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
