#[tcs::server_protocol(format = tcs::format::Json)]
mod shop {
    pub fn sell(count: u32) -> u32 {
        count
    }
}

#[tcs::client_protocol(server = shop, request = shop::Request::Sell { count: 1 })]
fn sold(_reply: shop::Reply) {}

fn main() {}
