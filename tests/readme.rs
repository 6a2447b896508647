//! The README shows what there is, and what it says is so.
//!
//! Its programs are compiled as documentation tests of the crate as well.

use std::path::Path;

use tcs_tests::process::{Process, connect, port_1234};

const README: &str = include_str!("../README.md");
const ADDRESS: (&str, u16) = ("127.0.0.1", 1234);

/// A fenced block: its language, and its text.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fenced = README.split("```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').expect("a language"))
        .collect()
}

/// The text of the first block after the one with the text `before`.
fn block_after(before: &str) -> Vec<&'static str> {
    let blocks = blocks();
    let place = blocks.iter().position(|(_, text)| *text == before);
    let (_, text) = blocks[place.unwrap_or_else(|| panic!("no block {before:?}")) + 1];
    text.lines().collect()
}

#[test]
fn programs_are_those_of_the_examples() {
    let programs = [
        include_str!("../examples/greet_server.rs"),
        include_str!("../examples/greet_client.rs"),
        include_str!("../examples/count.rs"),
        include_str!("../examples/world.rs"),
        include_str!("../benches/peers/examples/world.rs"),
        include_str!("../examples/lines.rs"),
    ];
    let programs: Vec<_> = programs
        .iter()
        .map(|program| {
            let header = program.lines().take_while(|line| !line.is_empty());
            let header: usize = header.map(|line| line.len() + 1).sum();
            &program[header + 1..]
        })
        .collect();
    let shown: Vec<_> = blocks()
        .into_iter()
        .filter(|(language, _)| language.starts_with("rust"))
        .map(|(_, text)| text)
        .collect();
    assert_eq!(shown, programs);
}

#[test]
fn server_and_client_have_at_most_ten_lines() {
    for name in ["greet", "print_reply"] {
        let blocks = blocks();
        let function = format!("\nfn {name}(");
        let (_, text) = blocks
            .iter()
            .find(|(_, text)| text.contains(&function))
            .expect("it is shown");
        let code = text.lines().filter(|line| !line.trim().is_empty());
        assert!(code.count() <= 10, "{text}");
    }
}

#[test]
fn files_it_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let links = README.split("](").skip(1);
    let links = links.map(|rest| rest.split(')').next().expect("its end"));
    let code = README.split('`').skip(1).step_by(2);
    let named = code.filter(|code| code.starts_with("examples/"));
    let mut found = 0;
    for name in links.chain(named) {
        assert!(root.join(name).exists(), "{name}");
        found += 1;
    }
    assert!(found >= 4, "only {found}");
}

#[tokio::test]
async fn hello_prints_what_is_shown() {
    let printed = Process::example("hello").finished().await.succeeded();
    assert_eq!(printed, block_after("cargo run --example hello\n"));
}

#[tokio::test]
async fn client_prints_what_is_shown() {
    let _port = port_1234().await;
    let server = Process::example("greet_server");
    drop(connect(ADDRESS).await);
    let client = Process::example("greet_client");
    let program = include_str!("../examples/greet_client.rs");
    let (_, program) = program.split_once("\n\n").expect("a header");
    assert_eq!(client.finished().await.succeeded(), block_after(program));
    server.interrupt().await;
    server.finished().await.succeeded();
}

#[tokio::test]
async fn nc_prints_what_is_shown() {
    const COMMAND: &str = "printf 'Ann\\n' | nc -N localhost 1234\n";
    let nc = Process::start("sh", ["-c", "command -v nc"])
        .finished()
        .await;
    assert!(
        nc.status.success(),
        "this test needs nc: on Debian, `apt-get install netcat-openbsd`"
    );
    let _port = port_1234().await;
    let server = Process::example("lines");
    drop(connect(ADDRESS).await);
    let printed = Process::start("sh", ["-c", COMMAND]).finished().await;
    assert_eq!(printed.succeeded(), block_after(COMMAND));
    server.interrupt().await;
    server.finished().await.succeeded();
}
