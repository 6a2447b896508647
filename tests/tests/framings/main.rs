//! What the framings promise.

mod detection;
mod duplex;
mod every_framing;
mod lossy;
mod no_request;
mod other_protocols;
mod own_framings;
mod protocols_page;
mod rejected_requests;
mod single_framings;
mod until_eof;
mod wrong_server;
