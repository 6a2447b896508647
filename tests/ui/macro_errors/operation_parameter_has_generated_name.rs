#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add<Client: ToString>(#[state] client: &Client) -> String {
        client.to_string()
    }
}

fn main() {}
