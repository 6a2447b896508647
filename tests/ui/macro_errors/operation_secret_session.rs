#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(number: u32, #[secret] #[session] sum: &mut u32) -> u32 {
        *sum += number;
        *sum
    }
}

fn main() {}
