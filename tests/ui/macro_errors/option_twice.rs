use tcs::server_protocol;

#[server_protocol(framing = tcs::framing::Lines, framing = tcs::framing::Raw)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
