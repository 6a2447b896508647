//! What the framings promise.

mod every_framing;
mod first_frame;
mod other_protocols;
mod own_framings;
mod single_framings;
mod until_eof;
mod wrong_server;
