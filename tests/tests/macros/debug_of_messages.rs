//! `Debug` of requests and replies shows values as a derive would, but not those that are secret or have no `Debug`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use tcs::{format::Json, server_protocol};

/// A type without `Debug`.
#[derive(Deserialize, Serialize)]
struct Key(u8);

#[derive(Debug, Deserialize, Serialize)]
struct Wrapped<T>(T);

#[server_protocol(format = Json)]
mod vault {
    use super::*;

    pub fn withdraw(account: &str, amount: u64) -> Result<u64, String> {
        Err(format!("{account} has less than {amount}"))
    }

    pub fn list() {}

    pub fn log_in(name: String, #[secret] password: &str) -> bool {
        name == password
    }

    #[secret]
    pub fn token(name: String, hours: u8) -> String {
        format!("{name} {hours}")
    }

    #[secret]
    #[blocking]
    pub fn seed(#[secret] first: u8, second: Key) -> u8 {
        first + second.0
    }

    pub fn open(key: Key, spare: Option<Key>, note: Wrapped<Key>) -> Key {
        let _ = (spare, note);
        key
    }

    pub async fn label<'a>(f: Wrapped<&'a str>, r#type: Cow<'a, str>) -> Vec<Cow<'a, str>> {
        let Wrapped(text) = f;
        vec![text.into(), r#type]
    }
}

mod derived {
    #[derive(Debug)]
    #[expect(dead_code, reason = "`Debug` reads the fields")]
    pub(super) enum Request<'a> {
        Withdraw { account: &'a str, amount: u64 },
        List {},
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "`Debug` reads the fields")]
    pub(super) enum Reply {
        Withdraw(Result<u64, String>),
        List(()),
    }
}

#[test]
fn values_are_shown_as_by_a_derive() {
    let (account, amount) = ("ann", 5);
    let shown = [
        vault::Request::Withdraw { account, amount },
        vault::Request::List {},
    ];
    let derived = [
        derived::Request::Withdraw { account, amount },
        derived::Request::List {},
    ];
    assert_eq!(format!("{shown:?}"), format!("{derived:?}"));
    assert_eq!(format!("{shown:#?}"), format!("{derived:#?}"));
    let error = "none".to_owned();
    let shown = [
        vault::Reply::Withdraw(Err(error.clone())),
        vault::Reply::List(()),
    ];
    let derived = [
        derived::Reply::Withdraw(Err(error)),
        derived::Reply::List(()),
    ];
    assert_eq!(format!("{shown:?}"), format!("{derived:?}"));
    assert_eq!(format!("{shown:#?}"), format!("{derived:#?}"));
    let (f, r#type) = (Wrapped("a"), "b".into());
    assert_eq!(
        format!("{:?}", vault::Request::Label { f, r#type }),
        r#"Label { f: Wrapped("a"), type: "b" }"#
    );
}

#[test]
fn secrets_are_hidden() {
    let (name, password) = ("ann".to_owned(), "1234");
    let request = vault::Request::LogIn { name, password };
    assert_eq!(
        format!("{request:?}"),
        r#"LogIn { name: "ann", password: *** }"#
    );
    assert_eq!(format!("{:?}", vault::Reply::LogIn(true)), "LogIn(true)");
    let (name, hours) = ("ann".to_owned(), 1);
    let request = vault::Request::Token { name, hours };
    assert_eq!(format!("{request:?}"), "Token { name: ***, hours: *** }");
    let reply = vault::Reply::Token("abc".to_owned());
    assert_eq!(format!("{reply:?}"), "Token(***)");
    let (first, second) = (1, Key(2));
    let request = vault::Request::Seed { first, second };
    assert_eq!(format!("{request:?}"), "Seed { first: ***, second: *** }");
}

#[test]
fn value_without_debug_is_left_out() {
    let (key, spare, note) = (Key(1), Some(Key(2)), Wrapped(Key(3)));
    let request = vault::Request::Open { key, spare, note };
    assert_eq!(format!("{request:?}"), "Open { key: _, spare: _, note: _ }");
    assert_eq!(format!("{:?}", vault::Reply::Open(Key(1))), "Open(_)");
}
