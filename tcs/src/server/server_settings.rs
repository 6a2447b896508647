//! The settings of a server as data, from a file or the environment.

use std::{env, ffi::OsString, fmt, marker::PhantomData, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, Error as _, MapAccess, Visitor,
        value::{self, MapDeserializer},
    },
};

use super::AtCapacity;
#[cfg(doc)]
use super::Server;
use crate::{
    ConcurrentServer, Error, Result,
    protocol::{PushOverflow, ServerProtocol},
};

/// Declares the struct, how it is read, and how a server takes it. Each field is a method of the server.
macro_rules! settings {
    ($($(#[$cfg:meta])? $field:ident: $ty:ty,)*) => {
        /// Settings of a [`ConcurrentServer`](crate::ConcurrentServer) from a file or the environment.
        ///
        /// This type has the settings of the server that are plain data, each named like its method:
        /// [`address`](Server::address), [`max_connections`](Server::max_connections),
        /// [`idle_timeout`](Server::idle_timeout), and so on ([all of
        /// them](https://docs.rs/crate/tcs/latest/source/docs/limits.md)). Missing settings keep their defaults. An
        /// unknown name is an error that shows the name.
        ///
        /// `ServerSettings` implements serde's `Deserialize`, so you can read it from any self-describing format, such
        /// as TOML, JSON or YAML, and make it a part of your own settings. [`from_env`](Self::from_env) reads
        /// environment variables. Each value may be text:
        ///
        /// | setting | value |
        /// |---|---|
        /// | a time | a number of seconds, or a text with a unit of `ms`, `s`, `m` or `min`, `h`: `1.5`, `"100ms"`, `"5m"` |
        /// | a size or a number | an integer; sizes are in bytes |
        /// | a setting whose method takes `None` | also `"none"`: no limit, or for `linger` and `lame_duck` no wait |
        /// | `at_capacity` | `"wait"`, `"reject"` or `"evict_idle"` |
        /// | `push_overflow` | `"reject"`, `"close"` or `"drop_oldest"` |
        /// | `reuse_port` | `true` or `false` |
        ///
        /// Set listeners, handshakes and functions on the server itself. [`bind`](Server::bind) rejects inconsistent
        /// values, and zero, except for `port`, where zero selects a free port, and for `linger`, `lame_duck` and
        /// `drain_timeout`, where zero means no wait.
        ///
        /// # Examples
        ///
        /// ```
        /// use tcs::{ConcurrentServer, server::ServerSettings, server_protocol};
        ///
        /// #[server_protocol]
        /// fn greet(name: &str) -> String {
        ///     format!("Hello, {name}!")
        /// }
        ///
        /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// // With TOML, this is `toml::from_str`.
        /// let file = r#"{ "port": 7000, "max_connections": 50, "request_timeout": "5s", "idle_timeout": "none" }"#;
        /// let file: ServerSettings = serde_json::from_str(file)?;
        /// // The last call wins: `GREET__PORT=7001` in the environment overrides the file.
        /// let server = ConcurrentServer::new(Greet)
        ///     .settings(&file)
        ///     .settings(&ServerSettings::from_env("GREET__")?);
        /// # drop(server);
        /// # Ok(())
        /// # }
        /// ```
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct ServerSettings {
            $($(#[$cfg])? $field: Option<$ty>,)*
        }

        const FIELDS: &[&str] = &[$($(#[$cfg])? stringify!($field)),*];

        impl ServerSettings {
            fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> std::result::Result<(), A::Error> {
                match name {
                    $($(#[$cfg])? stringify!($field) => {
                        if self.$field.is_some() {
                            return Err(A::Error::duplicate_field(stringify!($field)));
                        }
                        self.$field = Some(map.next_value_seed(Field::new(stringify!($field)))?);
                    })*
                    other => map.next_value_seed(UnknownField(other))?,
                }
                Ok(())
            }
        }

        impl<P: ServerProtocol> ConcurrentServer<P> {
            /// Applies all settings that are present. A later call for the same setting replaces its value.
            pub fn settings(mut self, settings: &ServerSettings) -> Self {
                let settings = settings.clone();
                $($(#[$cfg])? if let Some(value) = settings.$field {
                    self = self.$field(value);
                })*
                self
            }
        }
    };
}

settings! {
    // The address is first, because it replaces the host and the port.
    address: String,
    host: String,
    port: u16,
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    reuse_port: bool,
    keepalive_timeout: Option<Duration>,
    handshake_timeout: Option<Duration>,
    max_connections: usize,
    at_capacity: AtCapacity,
    max_connections_per_address: Option<usize>,
    max_frame_len: usize,
    max_reply_len: usize,
    memory_budget: usize,
    idle_timeout: Option<Duration>,
    frame_timeout: Option<Duration>,
    request_timeout: Option<Duration>,
    half_close_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    linger: Option<Duration>,
    lame_duck: Option<Duration>,
    drain_timeout: Option<Duration>,
    max_connection_age: Option<Duration>,
    max_requests_per_connection: Option<u64>,
    max_in_flight_per_address: Option<usize>,
    max_request_rate_per_address: Option<u32>,
    max_queue_time: Option<Duration>,
    max_pipelined_requests: Option<u64>,
    max_push_queue: usize,
    push_overflow: PushOverflow,
    max_blocking: usize,
}

impl ServerSettings {
    /// Reads the environment variables that begin with a prefix: with `"GREET__"`, `GREET__MAX_CONNECTIONS` is
    /// `max_connections`.
    ///
    /// End the prefix with two underscores. With one, it also matches a variable of Kubernetes: for a Service named
    /// `greet`, it sets `GREET_PORT` to `tcp://10.0.0.1:7000`, which is an error.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Setting`](crate::ErrorKind::Setting) if such a variable does not name a setting, or its
    /// value is invalid.
    pub fn from_env(prefix: &str) -> Result<Self> {
        // No setting has a value that is not Unicode, so a value after a lossy conversion is an error as well.
        let text = |text: OsString| text.to_string_lossy().into_owned();
        let variables = env::vars_os().map(|(name, value)| (text(name), text(value)));
        Self::from_variables(prefix, variables)
    }

    fn from_variables(
        prefix: &str,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Self> {
        let given = variables.filter_map(|(name, value)| {
            let name = name.strip_prefix(prefix)?.to_lowercase();
            Some((name, value))
        });
        let read = Self::deserialize(MapDeserializer::new(given));
        read.map_err(|error: value::Error| {
            Error::setting(&format!("environment variables {prefix}…:"), error)
        })
    }
}

impl<'de> Deserialize<'de> for ServerSettings {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_struct("ServerSettings", FIELDS, SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = ServerSettings;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings of a server")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut map: A,
    ) -> std::result::Result<ServerSettings, A::Error> {
        let mut settings = ServerSettings::default();
        while let Some(name) = map.next_key::<String>()? {
            settings.read(&name, &mut map)?;
        }
        Ok(settings)
    }
}

/// An unknown name. It is an error of its value, so that formats show its line.
struct UnknownField<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for UnknownField<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, _: D) -> std::result::Result<(), D::Error> {
        Err(D::Error::unknown_field(self.0, FIELDS))
    }
}

/// A value of a setting. It may be text, because environment variables are.
trait Value: Sized {
    /// Returns the text of errors that describes valid values.
    fn expected() -> String;

    fn parse(text: &str) -> Option<Self>;
}

/// Reads the value of the setting with this name, which errors show.
struct Field<T> {
    name: &'static str,
    value: PhantomData<T>,
}

impl<T> Field<T> {
    const fn new(name: &'static str) -> Self {
        let value = PhantomData;
        Self { name, value }
    }
}

impl<'de, T: Value> DeserializeSeed<'de> for Field<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> std::result::Result<T, D::Error> {
        from.deserialize_any(self)
    }
}

impl<T: Value> Visitor<'_> for Field<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for `{}`", T::expected(), self.name)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<T, E> {
        let error = || {
            let (name, expected) = (self.name, T::expected());
            E::custom(format_args!(
                "`{name}` cannot be `{text}`: write {expected}"
            ))
        };
        T::parse(text).ok_or_else(error)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<T, E> {
        self.visit_str(&value.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> std::result::Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> std::result::Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> std::result::Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl<T: Value> Value for Option<T> {
    fn expected() -> String {
        format!("{}, or \"none\"", T::expected())
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(None);
        }
        T::parse(text).map(Some)
    }
}

impl Value for String {
    fn expected() -> String {
        "a text".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Value for Duration {
    fn expected() -> String {
        "seconds, or a time such as \"100ms\", \"5s\", \"5m\" or \"1h\"".to_owned()
    }

    fn parse(text: &str) -> Option<Self> {
        let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.');
        let number: f64 = text.strip_suffix(unit)?.parse().ok()?;
        let seconds = match unit.trim_start() {
            "ms" => number / 1_000.0,
            "" | "s" => number,
            "m" | "min" => number * 60.0,
            "h" => number * 3_600.0,
            _ => return None,
        };
        Self::try_from_secs_f64(seconds).ok()
    }
}

/// Implements `Value` for types whose values are in a list, or that `FromStr` reads.
macro_rules! values {
    ($($ty:ty: $expected:literal;)*) => {
        $(impl Value for $ty {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn parse(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        })*
    };
    ($ty:ident { $($word:literal => $variant:ident,)* }) => {
        impl Value for $ty {
            fn expected() -> String {
                [$(concat!("\"", $word, "\"")),*].join(" or ")
            }

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

values! {
    bool: "true or false";
    u16: "a number up to 65,535";
    u32: "a number up to 4,294,967,295";
    u64: "a number";
    usize: "a number";
}

values! {
    AtCapacity {
        "wait" => Wait,
        "reject" => Reject,
        "evict_idle" => EvictIdle,
    }
}

values! {
    PushOverflow {
        "reject" => Reject,
        "close" => Close,
        "drop_oldest" => DropOldest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_variables(variables: &[(&str, &str)]) -> Result<ServerSettings> {
        let owned = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ServerSettings::from_variables("GREET_", owned)
    }

    #[test]
    fn variables_with_the_prefix_are_settings() {
        let settings = of_variables(&[
            ("PATH", "/bin"),
            ("GREET_HOST", "::1"),
            ("GREET_PORT", "7001"),
            ("GREET_MAX_CONNECTIONS_PER_ADDRESS", "none"),
            ("GREET_AT_CAPACITY", "evict_idle"),
        ]);
        let expected = ServerSettings {
            host: Some("::1".to_owned()),
            port: Some(7_001),
            max_connections_per_address: Some(None),
            at_capacity: Some(AtCapacity::EvictIdle),
            ..ServerSettings::default()
        };
        assert_eq!(settings.expect("they are settings"), expected);
    }

    #[test]
    fn error_shows_the_prefix_and_the_setting() {
        for (name, value, text) in [
            (
                "GREET_PROT",
                "7001",
                "environment variables GREET_…: unknown field `prot`, expected one of `address`, `host`, `port`",
            ),
            (
                "GREET_PORT",
                "70010",
                "environment variables GREET_…: `port` cannot be `70010`: write a number up to 65,535",
            ),
            (
                "GREET_IDLE_TIMEOUT",
                "5 days",
                "environment variables GREET_…: `idle_timeout` cannot be `5 days`: write seconds, or a time such as \"100ms\", \"5s\", \"5m\" or \"1h\", or \"none\"",
            ),
            (
                "GREET_PUSH_OVERFLOW",
                "",
                "environment variables GREET_…: `push_overflow` cannot be ``: write \"reject\" or \"close\" or \"drop_oldest\"",
            ),
        ] {
            let error = of_variables(&[(name, value)]).expect_err("it is wrong");
            assert_eq!(error.kind(), crate::ErrorKind::Setting);
            assert!(error.to_string().starts_with(text), "{error}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, milliseconds) in [
            ("100ms", Some(100)),
            ("5s", Some(5_000)),
            ("1.5", Some(1_500)),
            ("0", Some(0)),
            ("5m", Some(300_000)),
            ("5min", Some(300_000)),
            ("5 min", Some(300_000)),
            ("2h", Some(7_200_000)),
            ("-1s", None),
            ("s", None),
            ("", None),
            ("inf", None),
            ("1e3", None),
            ("1.2.3", None),
            ("99999999999999999999h", None),
        ] {
            let parsed = Duration::parse(text);
            assert_eq!(parsed, milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
