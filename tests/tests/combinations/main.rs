//! Each framing carries each format. The framings are listed in `every_framing!`, the formats here.

/// Makes a module for each framing, and in it `$test!(framing, NAIVE, name, Format)` for each format.
macro_rules! each_combination {
    ($test:ident) => {
        ::tcs_tests::every_framing! { each_format $test }
    };
}

macro_rules! each_format {
    ($test:ident $($name:ident: $framing:ty, $naive:ident;)*) => {$(
        mod $name {
            $test!($framing, $naive, plain, Plain);
            $test!($framing, $naive, json, Json);
            $test!($framing, $naive, postcard, Postcard);
            $test!($framing, $naive, messagepack, MessagePack);
            $test!($framing, $naive, protobuf, Protobuf);
        }
    )*};
}

mod connections;
mod streams;
