use tcs::{format::Json, server_protocol};

#[server_protocol(format = Json)]
mod bank {
    pub(crate) fn helper() {}
}

fn main() {
    bank::helper();
}
