use tcs::{Answer, Json, server_protocol};

#[server_protocol(format = Json)]
fn place(count: u32) -> Result<Answer<u32>, String> {
    Ok(Answer::Last(count))
}

fn main() {}
