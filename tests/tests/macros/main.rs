//! What the attributes make of modules, at run time. What they make of functions is compiled in `tests/ui`.

mod debug_of_messages;
mod generated_clients;
mod lists;
mod operations;
mod operations_served;
mod stubs;
