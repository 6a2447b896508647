use tcs::server_protocol;

#[server_protocol(framing = tcs::framing::Lines, reject_with = sorry())]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
