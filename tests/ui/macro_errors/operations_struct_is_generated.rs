#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub struct Request;

    pub fn list(count: u8) -> u8 {
        count
    }
}

fn main() {}
