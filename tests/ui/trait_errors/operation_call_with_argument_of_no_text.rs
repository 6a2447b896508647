#[tcs::client_protocol(format = tcs::format::Json)]
mod hello {
    pub fn greet(name: String, count: u8);
}

fn main() {
    let _ = async |mut client: hello::Client| client.greet(5_u16, 1).await;
}
