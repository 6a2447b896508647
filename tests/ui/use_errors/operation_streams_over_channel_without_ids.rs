use tcs::{Channel, format::Json, protocol::Replies, server_protocol};

#[server_protocol(format = Json)]
mod store {
    use super::Replies;

    #[replies(&str)]
    pub async fn words(
        text: String,
        #[context] mut out: Replies<'_, Words>,
    ) -> Result<(), String> {
        out.send(&text).await?;
        Ok(())
    }
}

async fn list(client: store::Client<Channel>) {
    let _words = client.words("to be").await;
}

fn main() {
    let _ = list;
}
