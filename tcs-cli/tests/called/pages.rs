//! Help, completions and the man page.

use crate::{printed, ran};

#[tokio::test]
async fn help_fits_a_screen() {
    for (command, most) in [("call", 44), ("describe", 30), ("listen", 30)] {
        let help = printed(ran(&[command, "--help"]).await);
        assert!(help.len() <= most, "{} lines of {command}", help.len());
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
        for word in ["call", "describe", "listen", "--framing"] {
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
        "\\-\\-fail\\-on",
        "expect\\-until",
    ] {
        assert!(page.contains(part), "{part}");
    }
}
