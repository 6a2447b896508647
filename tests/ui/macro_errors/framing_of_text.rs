use tcs::server_protocol;

#[server_protocol(framing = tcs::framing::Delimited<";">)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn main() {}
