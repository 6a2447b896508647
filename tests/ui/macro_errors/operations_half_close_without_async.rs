#[tcs::server_protocol(format = tcs::format::Json, half_close = ends)]
mod bank {
    pub fn add(number: u8) -> u8 {
        number
    }
}

fn main() {}
