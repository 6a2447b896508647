use tcs::client_protocol;

struct Shop;

#[client_protocol(server = Shop, request = "Ann")]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
