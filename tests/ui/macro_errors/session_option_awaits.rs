async fn start() -> u32 {
    1
}

#[tcs::server_protocol(session = start().await)]
async fn add(number: u32, #[session] sum: &mut u32) -> u32 {
    *sum += number;
    *sum
}

fn main() {}
