struct Client;

#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use super::*;
    pub fn add(_one: u8, #[state] _client: &Client) {}
}

fn main() {}
