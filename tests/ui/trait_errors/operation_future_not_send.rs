#[tcs::server_protocol(format = tcs::format::Json)]
mod bank {
    pub async fn list() {}
    pub async fn add(one: u8) {
        let kept = std::rc::Rc::new(one);
        list().await;
        drop(kept);
    }
}
fn main() {
    tcs::ConcurrentServer::new(bank::Protocol);
}
