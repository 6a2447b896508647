use tcs::{Rejection, framing::Lines};

#[tcs::server_protocol(framing = Lines, reject_with = in_words)]
fn double(number: u32) -> u32 {
    number * 2
}

fn in_words(rejection: Rejection) -> String {
    rejection.text().to_owned()
}

fn main() {}
