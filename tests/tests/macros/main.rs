//! What the attributes make, at run time. Most of what they make of functions is compiled in `tests/ui`.

mod concurrent;
mod conversations;
mod debug_of_messages;
mod describe;
mod generated_clients;
mod lists;
mod operations;
mod operations_served;
mod stubs;
