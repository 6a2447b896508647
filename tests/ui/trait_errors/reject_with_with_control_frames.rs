#[tcs::server_protocol(reject_with = sorry)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn sorry(_: &tcs::Rejection) -> &str {
    "sorry"
}

fn main() {}
