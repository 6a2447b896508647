#[tcs::client_protocol(request = |name: &str| name.)]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() -> tcs::Result<()> {
    tcs::Client::new(Print { name: "Ann" }).port(1234).run()
}
