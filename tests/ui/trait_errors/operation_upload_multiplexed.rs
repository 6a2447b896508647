#[tcs::server_protocol(format = tcs::format::Json, framing = tcs::framing::Multiplexed)]
mod files {
    use tcs::protocol::Requests;

    #[requests(&[u8])]
    pub async fn store(mut pieces: Requests<'_, Store>) -> Result<usize, String> {
        Ok(pieces.next().await?.map_or(0, <[u8]>::len))
    }
}

fn main() {}
