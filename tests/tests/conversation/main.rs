//! Conversations: pushed events, streamed replies, and what a function knows about its peer.

mod closed;
mod pushes;
mod streams;
mod upgrade;
