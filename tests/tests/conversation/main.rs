//! Conversations: pushed events, streamed replies, and what a function knows about its peer.

mod beside;
mod busy_streams;
mod closed;
mod concurrent;
mod credit;
mod deadlines;
mod framing;
mod handles;
mod hostile;
mod hub;
mod last_replies;
mod leftovers;
mod many;
mod matrix;
mod multiplexed;
mod pushes;
mod requests;
mod sequential_ids;
mod streams;
mod unsendable;
mod upgrade;
