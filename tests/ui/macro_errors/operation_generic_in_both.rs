#[tcs::server_protocol(format = tcs::format::Json)]
mod cache {
    pub fn echo<T: serde::Serialize>(value: T) -> T {
        value
    }
}

fn main() {}
