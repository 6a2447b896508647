//! The chapters of `docs/guide`. Their code is compiled and run as documentation tests of this crate, which has every
//! feature.

macro_rules! chapters {
    ($($name:ident: $file:literal,)*) => {
        $(
            #[cfg(all(doctest, target_os = "linux"))]
            #[doc = include_str!(concat!("../../docs/guide/src/", $file, ".md"))]
            pub struct $name;
        )*
    };
}

chapters! {
    FirstService: "first-service",
    State: "state",
    Operations: "operations",
    Choosing: "choosing",
    Conversations: "conversations",
    Chat: "chat",
    ErrorsAndRetries: "errors-and-retries",
    Testing: "testing",
    Simulation: "simulation",
    Production: "production",
    Operating: "operating",
    Observing: "observing",
    ExistingProtocol: "existing-protocol",
    OwnFraming: "own-framing",
    Migrating: "migrating",
    Questions: "faq",
}
