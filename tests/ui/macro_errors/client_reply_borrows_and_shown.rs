use tcs::{Client, client_protocol};

#[client_protocol(reply = &str)]
fn ask(name: &str) -> String {
    name.to_owned()
}

fn main() -> tcs::Result<()> {
    println!("{}", Client::new(Ask { name: "Ann" }).port(1234).run()?);
    Ok(())
}
