//! Compiled without a feature for a format.

#[tcs::server_protocol(format = Json)]
mod bank {
    pub fn deposit(cents: u64, #[state] least: &u64) -> bool {
        cents >= *least
    }
}

fn main() {}
