#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn _1(_name: &str) {}
}

fn main() {}
