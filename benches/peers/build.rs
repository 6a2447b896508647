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
    let repeat = Method::builder()
        .name("repeat")
        .route_name("Repeat")
        .input_type("super::super::Message")
        .output_type("super::super::Message")
        .codec_path("tonic_prost::ProstCodec")
        .server_streaming()
        .build();
    let service = Service::builder()
        .name("Echo")
        .package("benches")
        .method(echo)
        .method(repeat)
        .build();
    Builder::new().compile(&[service]);
}
