mod api {
    #[tcs::server_protocol(format = tcs::format::Json)]
    pub mod shop {
        pub fn add(_item: String) {}
    }
}

#[tcs::client_protocol(server = api::shop, request = "tea")]
fn print(_reply: ()) {}

fn main() {}
