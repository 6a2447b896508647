//! Conversations: pushed events, streamed replies, and what a function knows about its peer.

mod closed;
mod deadlines;
mod handles;
mod hub;
mod leftovers;
mod pushes;
mod requests;
mod streams;
mod upgrade;
