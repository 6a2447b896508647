//! Makes tonic's client and server without a protocol buffers compiler.

use tonic_build::manual::{Builder, Method, Service};

fn main() {
    let echo = Method::builder()
        .name("echo")
        .route_name("Echo")
        .input_type("super::super::Message")
        .output_type("super::super::Message")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let service = Service::builder()
        .name("Echo")
        .package("benches")
        .method(echo)
        .build();
    Builder::new().compile(&[service]);
}
