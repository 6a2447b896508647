#[derive(serde::Serialize)]
struct Age(u8);

#[tcs::server_protocol(Ages, format = tcs::format::Json)]
fn age(years: u8) -> Age {
    Age(years)
}
#[tcs::client_protocol(server = Ages, request = 7)]
fn ask(reply: Age) -> u8 {
    reply.0
}
fn main() {}
