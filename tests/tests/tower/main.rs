//! Protocols and the services of `tower`.

mod channel_services;
mod layers;
mod protocol_services;
mod service_protocols;
