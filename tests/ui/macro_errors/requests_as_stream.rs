use tcs::server_protocol;

#[server_protocol(requests = u32)]
async fn sum(first: u32, rest: impl IntoIterator<Item = u32>) -> u32 {
    rest.into_iter().sum::<u32>() + first
}

fn main() {}
