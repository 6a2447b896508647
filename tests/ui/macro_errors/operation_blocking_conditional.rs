#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[cfg_attr(all(), blocking)]
    pub fn list() {}
}

fn main() {}
