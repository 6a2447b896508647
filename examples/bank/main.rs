//! Accounts.

fn main() {}
