#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn type() {}

    pub fn list() {}
}

fn main() {}
