#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn list(of: Vec<Request>) {}
}

fn main() {}
