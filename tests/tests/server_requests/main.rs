//! What servers do with requests.

mod batches;
mod blocking;
mod greetings;
mod middleware;
mod panics;
mod read_ahead;
mod server_functions;
