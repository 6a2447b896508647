#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn clone(count: u8) -> u8 {
        count
    }
}

fn main() {}
