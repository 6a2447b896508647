use tcs::client_protocol;

use std::rc::Rc;

#[client_protocol(request = "Ann")]
fn print(reply: &str, name: Rc<str>) {
    println!("{name} {reply}");
}

fn main() {}
