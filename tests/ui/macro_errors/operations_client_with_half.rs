#[tcs::client_protocol(format = tcs::format::Json, reply = String)]
mod bank {
    pub fn add(_one: u8) {}
}

fn main() {}
