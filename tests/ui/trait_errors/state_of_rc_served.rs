use std::rc::Rc;

#[tcs::server_protocol]
fn greet(name: &str, #[state] greeting: &Rc<str>) -> String {
    format!("{greeting}, {name}!")
}

fn main() -> tcs::Result<()> {
    tcs::ConcurrentServer::new(Greet::new("Hello".into())).port(1234).run()
}
