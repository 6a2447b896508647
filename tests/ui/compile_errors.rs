//! Mistakes are reported once, where they are, with their cure; what is accepted compiles.
//!
//! `macro_errors` holds the messages of the attributes; `trait_errors` and `use_errors` those of rustc,
//! which the expansions aim. To write the expected texts anew: `TRYBUILD=overwrite cargo test -p
//! tcs-compile-errors`; then read the diff.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use trybuild::TestCases;

/// The compiler whose texts `trait_errors` holds. Others lay out the same errors differently.
const PINNED: &str = "rustc 1.95.";
/// The version of clippy whose lints the expansions do not raise. What others raise is shown, and is no error:
/// a later one has more lints.
const PINNED_CLIPPY: &str = "clippy 0.1.95";

/// The features of the library that the catalogue needs.
const FEATURES: &str = r#""codec", "json", "messagepack", "postcard", "protobuf", "tower""#;

#[test]
fn mistakes_are_explained() {
    let cases = TestCases::new();
    cases.compile_fail("macro_errors/*.rs");
    if rustc_version().starts_with(PINNED) {
        cases.compile_fail("trait_errors/*.rs");
    }
}

/// Errors that rustc finds where a protocol is used are beside what compiles, because `trybuild` builds those
/// programs, and only checks the others.
#[test]
fn every_accepted_form_compiles() {
    let cases = TestCases::new();
    cases.pass("pass/*.rs");
    if rustc_version().starts_with(PINNED) {
        cases.compile_fail("use_errors/*.rs");
    }
}

#[test]
fn expansions_raise_no_lint() {
    let clippy = version(cargo().arg("clippy"));
    if !clippy.starts_with("clippy ") {
        tell("skipped: expansions_raise_no_lint needs clippy, which is not installed\n");
        return;
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("pass/lints.rs");
    let output = run("clippy", "lints", FEATURES, &[file]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let lints: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("lints.rs:"))
        .collect();
    if clippy.starts_with(PINNED_CLIPPY) {
        assert!(lints.is_empty(), "{said}");
    } else if !lints.is_empty() {
        tell(&format!(
            "not an error: the expansions raise lints of {clippy}{said}\n"
        ));
    }
}

/// Prints what the harness would hide, as it does what a test that passes prints with `eprintln!`.
fn tell(text: &str) {
    io::stderr()
        .write_all(text.as_bytes())
        .expect("standard error is open");
}

/// On any toolchain: the errors of rustc have the expected messages and lines.
#[test]
fn errors_of_rustc_stand_where_the_mistake_is() {
    let files = files_with("rs");
    let expected: BTreeSet<Found> = files_with("stderr")
        .iter()
        .flat_map(|file| in_full(&read(file)))
        .collect();
    let output = run("check", "trait_errors", FEATURES, &files);
    let found = in_short(&String::from_utf8_lossy(&output.stderr));
    // The short layout puts the label behind the message.
    let same = |expected: &Found, found: &Found| {
        expected.0 == found.0 && expected.1 == found.1 && found.2.starts_with(&expected.2)
    };
    for error in &expected {
        let is_found = found.iter().any(|other| same(error, other));
        assert!(is_found, "{error:?} is missing in {found:#?}");
    }
    for error in &found {
        let is_expected = expected.iter().any(|other| same(other, error));
        assert!(
            is_expected,
            "{error:?} is new; the catalogue has {expected:#?}"
        );
    }
}

/// The operations, their client and their server each need a format.
#[test]
fn missing_features_are_one_error() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("features/operations.rs");
    let output = run("check", "features", "", &[file]);
    let said = String::from_utf8_lossy(&output.stderr);
    let found = said.lines().filter(|line| line.contains(": error"));
    let found: Vec<&str> = found.collect();
    let is_right = matches!(&*found, [error] if error.contains("add the feature `json`"));
    assert!(is_right, "{said}");
}

#[test]
fn each_mistake_is_one_error() {
    // Those that cannot, and why.
    const REPEATED: &[(&str, &str)] = &[
        (
            "associated_function",
            "an attribute does not see that it stands in an `impl`",
        ),
        (
            "channel_call_of_reply_that_borrows",
            "rustc says it of the call and of its future",
        ),
        ("codec_is_no_codec", "rustc says it at each use of the type"),
        (
            "exchange_of_server_awaited",
            "rustc says it of the call, of its future and at the `.await`",
        ),
        ("format_is_framing", "neither message has the format"),
        (
            "framings_mixed_in_call_awaited",
            "rustc says it of the call, of its future and at the `.await`",
        ),
        (
            "json_call_of_reply_without_deserialize",
            "rustc says it of the call and of its protocol",
        ),
        (
            "operation_call_with_argument_of_no_text",
            "rustc says it of the call, of its future and at the `.await`",
        ),
        (
            "operation_streams_over_channel_without_ids",
            "rustc says it of the method, of the call and at the `.await`",
        ),
        (
            "replies_without_encode",
            "rustc says it of the call, of its future and at the `.await`",
        ),
        (
            "server_given_function_with_port",
            "rustc says it of the argument and at the next method",
        ),
        (
            "server_is_no_protocol",
            "rustc says it at each use of the server's types",
        ),
        ("several_mistakes_at_once", "they are five"),
        (
            "state_of_rc_served",
            "rustc says it of the state, where it is served and at the next method",
        ),
        (
            "state_unsized",
            "rustc says it at each use of the field and of the type",
        ),
    ];
    for folder in ["macro_errors", "trait_errors", "use_errors"] {
        for file in files_in(folder, "stderr") {
            let errors = read(&file)
                .lines()
                .filter(|line| line.starts_with("error"))
                .count();
            let name = file
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            let is_repeated = REPEATED.iter().any(|(repeated, _)| *repeated == name);
            assert_eq!(
                errors > 1,
                is_repeated,
                "{} has {errors} errors",
                file.display()
            );
        }
    }
}

#[test]
fn own_messages_are_short() {
    for file in files_in("macro_errors", "stderr") {
        let text = read(&file);
        for message in text.lines().filter_map(|line| line.strip_prefix("error: ")) {
            let length = message.chars().count();
            assert!(length <= 90, "{length} characters: {message}");
            assert!(!message.ends_with('.'), "{message}");
            assert!(!message.starts_with(char::is_uppercase), "{message}");
        }
    }
}

/// No page lists the messages, so what to write instead must be in the message, after what is wrong.
#[test]
fn own_messages_say_what_to_write() {
    const OTHERS: &[&str] = &[
        "did you mean `",
        // Of the parser, about the tokens of an option.
        "expected `,` before this",
        "expected an option, such as `",
        "unexpected end of input, expected ",
    ];
    for file in files_in("macro_errors", "stderr") {
        let text = read(&file);
        for message in text.lines().filter_map(|line| line.strip_prefix("error: ")) {
            let is_other = OTHERS.iter().any(|other| message.starts_with(other));
            assert!(is_other || message.contains(": "), "{message}");
        }
    }
}

#[test]
fn cases_are_short_and_many() {
    let mut count = 0;
    for folder in ["macro_errors", "trait_errors", "use_errors"] {
        for file in files_in(folder, "rs") {
            count += 1;
            let lines = read(&file).lines().count();
            assert!(lines <= 12, "{} has {lines} lines", file.display());
            assert!(file.with_extension("stderr").exists(), "{}", file.display());
        }
    }
    // None is lost, as by a folder that moves: raise it with the catalogue.
    assert!(count >= 400, "{count}");
}

/// The file, the line and the message of an error.
type Found = (String, u32, String);

/// Reads the errors from the layout that rustc has by default.
fn in_full(text: &str) -> Vec<Found> {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .windows(2)
        .filter_map(|pair| match pair {
            [error, place] if error.starts_with("error") => {
                let (_, message) = error.split_once(": ")?;
                let (file, rest) = in_catalogue(place)?;
                let line = rest.split(':').next()?.parse().ok()?;
                Some((file, line, message.to_owned()))
            }
            _ => None,
        })
        .collect()
}

/// Reads the errors from `--message-format short`: one line for each.
fn in_short(text: &str) -> BTreeSet<Found> {
    text.lines()
        .filter_map(|line| {
            let (file, rest) = in_catalogue(line)?;
            let (place, message) = rest.split_once(": error")?;
            let line = place.split(':').next()?.parse().ok()?;
            let (_, message) = message.split_once(": ")?;
            Some((file, line, message.to_owned()))
        })
        .collect()
}

/// Splits what is said about a file of the catalogue into its name and the rest.
fn in_catalogue(line: &str) -> Option<(String, &str)> {
    let (_, rest) = line.split_once("trait_errors/")?;
    let (file, rest) = rest.split_once(".rs:")?;
    Some((file.to_owned(), rest))
}

/// Runs a command of cargo in a project of this name, in which each of the files is a program. Features
/// of the library are given as in its manifest.
fn run(command: &str, name: &str, features: &str, files: &[PathBuf]) -> Output {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let project = folder.join(name);
    let mut manifest = format!(
        "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
         bytes = \"1\"\nprost = {{ version = \"0.14\", features = [\"derive\"] }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\
         tcs = {{ path = '{}', features = [{features}] }}\n\
         tokio = {{ version = \"1\", features = [\"rt\"] }}\ntokio-util = \"0.7\"\n",
        tests.join("../../tcs").display()
    );
    for file in files {
        let name = file.file_stem().unwrap_or_default().display();
        let path = file.display();
        write!(manifest, "\n[[bin]]\nname = '{name}'\npath = '{path}'\n").expect("memory");
    }
    fs::create_dir_all(&project).expect("the project's folder");
    fs::write(project.join("Cargo.toml"), manifest).expect("the project's manifest");
    fs::copy(tests.join("../../Cargo.lock"), project.join("Cargo.lock")).expect("the lock file");
    cargo()
        .args([
            command,
            "--offline",
            "--bins",
            "--keep-going",
            "--message-format",
            "short",
        ])
        .current_dir(&project)
        // The dependencies are the same.
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_TERM_COLOR", "never")
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs")
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn rustc_version() -> String {
    version(&mut Command::new(
        env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()),
    ))
}

fn version(program: &mut Command) -> String {
    let output = program.arg("--version").output().expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn files_with(extension: &str) -> Vec<PathBuf> {
    files_in("trait_errors", extension)
}

fn files_in(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the catalogue's folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).expect("a file of the catalogue")
}
