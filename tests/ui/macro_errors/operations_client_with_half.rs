#[tcs::client_protocol(format = tcs::Json, reply = String)]
mod bank {
    pub fn add(_one: u8) {}
}

fn main() {}
