#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[cfg_attr(all(), cfg(test))]
    pub fn list() {}

    #[cfg_attr(all(), allow(dead_code))]
    pub fn count() {}
}

fn main() {}
