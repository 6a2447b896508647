use tcs::server_protocol;

#[server_protocol(framing = tcs::framing::Lines format = tcs::format::Plain)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
