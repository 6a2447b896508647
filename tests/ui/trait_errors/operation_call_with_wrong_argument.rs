#[tcs::client_protocol(format = tcs::format::Json)]
mod bank {
    pub fn add(one: u8);
}

fn main() {
    let _ = async |mut client: bank::Client| client.add("one").await;
}
