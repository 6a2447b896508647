struct Request;

#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use super::*;
    pub fn add(_one: Request) {}
}

fn main() {}
