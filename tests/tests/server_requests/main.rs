//! What servers do with requests.

mod batches;
mod blocking;
mod greetings;
mod panics;
mod read_ahead;
mod server_functions;
