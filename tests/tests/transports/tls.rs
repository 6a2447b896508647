//! TLS at servers: who is let in, what is known of it, and how a connection ends.

mod certificates;
mod closing;
mod handshakes;
mod programs;
