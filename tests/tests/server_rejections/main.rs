//! What servers reject, and what the peers hear of it.

mod bad_input;
mod broken_framings;
mod rejections;
mod rejections_unsaid;
