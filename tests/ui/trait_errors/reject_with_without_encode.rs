#[tcs::server_protocol(framing = tcs::framing::Lines, reject_with = sorry)]
fn greet(name: &str) -> String {
    name.to_owned()
}

fn sorry(_: &tcs::Rejection) -> Vec<String> {
    Vec::new()
}

fn main() {}
