#[tcs::client_protocol(request = { if true { return Ok(()) } "Ann" })]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
