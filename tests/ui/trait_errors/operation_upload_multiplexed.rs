use tcs::{format::Json, framing::Multiplexed, protocol::Requests, server_protocol};

#[server_protocol(format = Json, framing = Multiplexed)]
mod files {
    use super::Requests;

    pub async fn length(name: String) -> usize {
        name.len()
    }

    #[requests(&[u8])]
    pub async fn store(mut pieces: Requests<'_, Store>) -> Result<usize, String> {
        Ok(pieces.next().await?.map_or(0, <[u8]>::len))
    }
}

fn main() {}
