//! Help, completions and the man page.

use std::process::Stdio;

use tcs_tests::{process::Process, within};
use tokio::process::Command;

use crate::{printed, ran, scripted};

#[tokio::test]
async fn help_fits_a_screen() {
    for command in ["call", "describe", "listen", "bench", "proxy"] {
        let mut narrow = Command::new(env!("CARGO_BIN_EXE_tcs"));
        let narrow = narrow.args([command, "--help"]).env("COLUMNS", "80");
        let help = printed(Process::run(narrow).finished().await.into());
        assert!(help.len() <= 40, "{} lines of {command}", help.len());
        let longest = help.iter().map(|line| line.chars().count()).max();
        assert!(longest <= Some(80), "{longest:?} columns of {command}");
        let all = printed(ran(&[command, "--help-all"]).await);
        assert!(all.len() > help.len());
        for line in help.iter().chain(&all) {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
    assert!(printed(ran(&["--help"]).await).len() <= 24);
}

#[tokio::test]
async fn completions_and_the_man_page_know_all_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = printed(ran(&["completions", shell]).await).join("\n");
        for word in ["call", "describe", "listen", "bench", "proxy", "--framing"] {
            let word = word.strip_prefix("--").unwrap_or(word);
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let page = printed(ran(&["man"]).await).join("\n");
    for part in [
        ".TH tcs",
        ".SH CALL",
        ".SH DESCRIBE",
        ".SH LISTEN",
        ".SH BENCH",
        ".SH PROXY",
        "\\-\\-fail\\-on",
        "expect\\-until",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[tokio::test]
async fn closed_output_ends_a_command_quietly() {
    let reply = r#"send {"describe":"{\"protocol\":\"Bank\",\"operations\":[]}"}"#;
    let peer = scripted(
        &format!("expect-any\n{reply}\naccept\nexpect-any\n{reply}"),
        &["--format", "json"],
    )
    .await;
    for arguments in [
        &["call", &peer.address, "x"][..],
        &["describe", &peer.address],
        &["man"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcs"));
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("it is built");
        drop(child.stdout.take());
        let output = within(child.wait_with_output()).await.expect("it ends");
        assert_eq!(
            (output.status.code(), output.stderr),
            (Some(0), Vec::new()),
            "{arguments:?}"
        );
    }
    peer.followed().await;
}
