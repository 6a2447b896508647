#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(_one: u8, #[state] #[context] _two: &u8) {}
}

fn main() {}
