//! What a function knows about its peer.
