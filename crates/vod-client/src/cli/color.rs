//! When colours are shown: `--color`, `NO_COLOR`, and whether anybody can see them.

use std::{
    ffi::{OsStr, OsString},
    io::IsTerminal as _,
};

use clap::ColorChoice;

/// What `--color` says among the arguments, before they are read: their errors have colours too.
pub(super) fn asked(args: &[OsString]) -> ColorChoice {
    let said =
        args.iter().enumerate().take_while(|(_, arg)| *arg != "--").find_map(|(at, arg)| match arg.to_str()? {
            "--color" => args.get(at + 1).and_then(|next| next.to_str()),
            arg => arg.strip_prefix("--color="),
        });
    match said {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

/// Has stderr colours?
pub(super) fn on_stderr(choice: ColorChoice) -> bool {
    decide(choice, std::env::var_os("NO_COLOR").as_deref(), std::io::stderr().is_terminal())
}

/// As <https://no-color.org> has it: what the user says on the command line comes before the variable, and an empty
/// variable says nothing.
fn decide(choice: ColorChoice, no_color: Option<&OsStr>, terminal: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && no_color.is_none_or(OsStr::is_empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        let check = |choice, no_color: Option<&str>, terminal, expected| {
            assert_eq!(
                decide(choice, no_color.map(OsStr::new), terminal),
                expected,
                "{choice} {no_color:?} {terminal}"
            );
        };
        check(ColorChoice::Auto, None, true, true);
        check(ColorChoice::Auto, None, false, false);
        check(ColorChoice::Auto, Some("1"), true, false);
        check(ColorChoice::Auto, Some(""), true, true);
        check(ColorChoice::Always, Some("1"), false, true);
        check(ColorChoice::Never, None, true, false);
    }

    #[test]
    fn the_choice_is_found_before_the_arguments_are_read() {
        let check = |line: &str, expected| {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(asked(&args), expected, "{line}");
        };
        check("vod-client --color never upload", ColorChoice::Never);
        check("vod-client upload --color=always a", ColorChoice::Always);
        check("vod-client upload -- --color=always", ColorChoice::Auto);
        check("vod-client upload", ColorChoice::Auto);
    }
}
