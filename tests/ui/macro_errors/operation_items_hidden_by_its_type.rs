#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    use super::*;
    #[replies(Row<'_>)]
    pub async fn row(count: u8) -> u8 {
        count
    }
}
struct Row<'a>(&'a str);

fn main() {}
