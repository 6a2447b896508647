#[tcs::server_protocol(session = "1".parse::<u32>()?)]
async fn add(number: u32, #[session] sum: &mut u32) -> u32 {
    *sum += number;
    *sum
}

fn main() {}
