#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    #[requests(&'a str)]
    pub async fn store<'a>(name: &'a str) -> &'a str {
        name
    }
}

fn main() {}
