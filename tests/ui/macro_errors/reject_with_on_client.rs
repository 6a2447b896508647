use tcs::client_protocol;

#[client_protocol(framing = tcs::framing::Lines, request = "Ann", reject_with = sorry)]
fn print_reply(reply: &str) {
    println!("{reply}");
}

fn main() {}
