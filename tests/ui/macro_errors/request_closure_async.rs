use tcs::client_protocol;

#[client_protocol(request = async |a: u8| a)]
fn print(reply: &str) {
    println!("{reply}");
}

fn main() {}
