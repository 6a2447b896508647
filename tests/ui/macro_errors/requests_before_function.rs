use tcs::server_protocol;

#[server_protocol]
#[requests(u32)]
async fn count(to: u32) -> u32 {
    to
}

fn main() {}
