#[tcs::server_protocol(format = tcs::format::Json)]
mod store {
    #[replies(&str)]
    pub async fn words(#[context] _out: tcs::protocol::Replies<'_, Words>) {}
}

async fn list(client: store::Client<tcs::Channel>) {
    let _words = client.words().await;
}

fn main() { let _ = list; }
