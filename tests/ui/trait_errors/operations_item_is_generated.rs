#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use tcs::Client;
    pub fn add(_one: u8) {}
}

fn main() {}
