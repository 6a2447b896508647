//! What servers refuse, and what the peers hear of it.

mod bad_input;
mod broken_framings;
mod refusals;
mod refusals_unsaid;
