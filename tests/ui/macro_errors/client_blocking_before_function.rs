use tcs::client_protocol;

#[client_protocol(request = "Ann")]
#[blocking]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
