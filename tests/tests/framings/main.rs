//! What the framings promise.

mod framing;
mod framing_rules;
mod other_protocols;
mod served_framings;
