#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[replies(&'a str)]
    pub async fn rows<'a>(name: &'a str) -> &'a str {
        name
    }
}

fn main() {}
