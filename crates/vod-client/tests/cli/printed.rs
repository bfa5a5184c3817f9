//! Completions, the manual page and colours.

use super::{run, run_with};

const ESCAPE: char = '\u{1b}';

#[test]
fn every_shell_has_completions_that_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        for word in ["upload", "sign", "verify", "explain", "completions", "family", "tag"] {
            assert!(ran.stdout.contains(word), "{word} is not among the completions of {shell}");
        }
    }
    assert_eq!(run(&["completions", "tcsh"]).code, 2);
}

#[test]
fn the_manual_page_has_every_command_and_every_exit_code() {
    let page = run(&["man"]).stdout;
    assert!(page.contains("\n.TH vod-client 1"), "{page}");
    for heading in [".SH UPLOAD", ".SH SIGN UGC", ".SH VERIFY", ".SH EXPLAIN", ".SH \"EXIT STATUS\""] {
        assert!(page.contains(heading), "{heading} is not in\n{page}");
    }
    for words in ["file\\-sha1", ".TP\n130\n", "part\\-size", "SECRET_ID"] {
        assert!(page.contains(words), "{words} is not in\n{page}");
    }
}

#[test]
fn colours_are_shown_where_they_are_asked_for_and_nowhere_else() {
    let colourful = |args: &[&str], env: &[(&str, &str)]| run_with(args, env, "").stderr.contains(ESCAPE);
    // What is wrong with the command line, and a line of the log.
    assert!(colourful(&["--color", "always", "upload", "--nonsense"], &[]));
    assert!(!colourful(&["upload", "--nonsense"], &[]));
    let failing = ["upload", "/dev/null", "--endpoint", "http://127.0.0.1:1", "--secret-id", "i"];
    let failing = |color| [&["--color", color], &failing[..]].concat();
    let key = [("VOD_SECRET_KEY", "not-printed")];
    assert!(!colourful(&failing("auto"), &key) && !colourful(&failing("never"), &key));
}
