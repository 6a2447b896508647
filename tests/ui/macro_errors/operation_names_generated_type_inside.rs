#[tcs::server_protocol(format = tcs::Json)]
mod bank {
    pub fn list(of: Vec<Request>) {}
}

fn main() {}
