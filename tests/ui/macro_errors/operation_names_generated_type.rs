struct Request;

#[tcs::server_protocol(format = tcs::Json)]
mod bank {
    use super::*;
    pub fn add(_one: Request) {}
}

fn main() {}
