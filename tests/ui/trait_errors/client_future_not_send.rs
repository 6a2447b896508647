use tcs::client_protocol;

use std::rc::Rc;

#[client_protocol(request = "Ann")]
async fn wait(reply: &str) -> usize {
    let length = Rc::new(reply.len());
    tokio::task::yield_now().await;
    *length
}

fn main() {}
