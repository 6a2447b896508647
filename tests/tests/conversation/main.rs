//! Conversations: pushed events, streamed replies, and what a function knows about its peer.

mod closed;
mod concurrent;
mod hub;
mod multiplexed;
mod pushes;
mod requests;
mod streams;
mod upgrade;
