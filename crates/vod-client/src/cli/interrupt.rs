//! Ctrl-C: the first stops what is under way, the second ends the program at once; and the command that resumes.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::CommandFactory as _;
use tokio::sync::oneshot;

use super::Cli;
use crate::exit;

/// Waits for the first Ctrl-C; from then on a second one ends the program, whatever it is waiting for.
///
/// It must be called within the runtime, and the handler is in place when it returns: none is missed.
pub(super) fn watch() -> impl Future<Output = ()> {
    let (first, pressed) = oneshot::channel();
    // Without a handler, Ctrl-C ends the program the usual way.
    if let Ok(mut signals) = handler() {
        tokio::spawn(async move {
            signals.recv().await;
            tracing::info!("interrupted: stops; once more ends at once");
            // Nobody waits where the work is done already.
            let _ = first.send(());
            signals.recv().await;
            std::process::exit(exit::INTERRUPTED.into());
        });
        return either(pressed);
    }
    drop(first);
    either(pressed)
}

async fn either(pressed: oneshot::Receiver<()>) {
    if pressed.await.is_err() {
        std::future::pending().await
    }
}

#[cfg(unix)]
fn handler() -> std::io::Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
}

#[cfg(windows)]
fn handler() -> std::io::Result<tokio::signal::windows::CtrlC> {
    tokio::signal::windows::ctrl_c()
}

/// The command that does the rest: the very one that was given, but for files that are done.
///
/// No argument is a secret, so the command can be shown.
pub(super) fn command(argv: &[OsString], rest: &[&Path], all: bool) -> String {
    let mut words: Vec<&OsStr> = if all { argv.iter().map(OsString::as_os_str).collect() } else { without_files(argv) };
    if !all {
        if rest.iter().any(|path| path.as_os_str().as_encoded_bytes().starts_with(b"-")) {
            words.push(OsStr::new("--"));
        }
        words.extend(rest.iter().map(|path| path.as_os_str()));
    }
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// Everything but the files: program, command, and flags with their values.
fn without_files(argv: &[OsString]) -> Vec<&OsStr> {
    let mut cli = Cli::command();
    cli.build();
    let upload = cli.find_subcommand("upload").expect("`upload` is a command of the program");
    let takes_value = |flag: &str| {
        let mut all = upload.get_arguments();
        all.any(|argument| argument.get_long() == Some(flag) && argument.get_action().takes_values())
    };
    let (mut kept, mut words, mut command) = (Vec::new(), argv.iter().map(OsString::as_os_str), false);
    kept.extend(words.next());
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--") => break,
            Some(text) if text.starts_with("--") => {
                kept.push(word);
                if takes_value(text.trim_start_matches('-')) {
                    kept.extend(words.next());
                }
            }
            Some("upload") if !command => {
                command = true;
                kept.push(word);
            }
            _ => {}
        }
    }
    kept
}

/// A word as POSIX shells read it.
fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_alphanumeric() || "_./:=@%+,-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn check(line: &[&str], rest: &[&str], all: bool, expected: &str) {
        let argv: Vec<OsString> = line.iter().map(OsString::from).collect();
        let rest: Vec<PathBuf> = rest.iter().map(PathBuf::from).collect();
        let rest: Vec<&Path> = rest.iter().map(PathBuf::as_path).collect();
        assert_eq!(command(&argv, &rest, all), expected);
    }

    #[test]
    fn the_command_that_resumes_is_the_very_one_as_a_shell_reads_it() {
        let line = ["vod-client", "upload", "it's here.mp4", "*.mp4", "--endpoint", "http://h:1", "--name", ""];
        let expected = r"vod-client upload 'it'\''s here.mp4' '*.mp4' --endpoint http://h:1 --name ''";
        check(&line, &["it's here.mp4"], true, expected);
    }

    #[test]
    fn files_that_are_done_are_left_out_and_flags_keep_their_values() {
        let line = ["vc", "--color", "never", "upload", "a", "--tag", "b", "--tag=c", "--transcode", "b", "--", "-c"];
        check(&line, &["b", "-c"], false, "vc --color never upload --tag b --tag=c --transcode -- b -c");
        check(&line, &["b"], false, "vc --color never upload --tag b --tag=c --transcode b");
    }
}
