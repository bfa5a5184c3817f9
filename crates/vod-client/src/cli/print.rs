//! `vod-client completions` and `vod-client man`: what packagers put beside the program.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Cli, output};
use crate::exit;

#[derive(Args)]
pub(super) struct CompletionsArgs {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of a shell, and says the exit code.
pub(super) fn completions(args: &CompletionsArgs) -> u8 {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "vod-client", &mut text);
    output::print(String::from_utf8_lossy(&text).trim_end());
    exit::OK
}

/// Prints the manual page of the program and all its commands, and says the exit code.
pub(super) fn man() -> u8 {
    output::print(page().trim_end());
    exit::OK
}

/// One page: the program, each command with its options, the exit codes.
fn page() -> String {
    let mut command = Cli::command();
    command.build();
    let mut roff = Vec::new();
    let main = clap_mangen::Man::new(command.clone());
    // Writing into memory cannot fail.
    let _ = main.render(&mut roff);
    let mut text = String::from_utf8_lossy(&roff).into_owned();
    let mut commands: Vec<_> = visible(&command);
    while let Some((path, command)) = (!commands.is_empty()).then(|| commands.remove(0)) {
        let mut roff = Vec::new();
        let man = clap_mangen::Man::new(command.clone().display_name(path.clone()));
        let _ = man.render_synopsis_section(&mut roff);
        let _ = man.render_description_section(&mut roff);
        let _ = man.render_options_section(&mut roff);
        let body = String::from_utf8_lossy(&roff).into_owned();
        text.push_str(&format!(".SH {}\n", path.to_uppercase()));
        // The sections of a command are sections of its section.
        let without_prelude = body.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
        text.extend(without_prelude.map(|line| line.replacen(".SH ", ".SS ", 1) + "\n"));
        let below = visible(command).into_iter().map(|(name, below)| (format!("{path} {name}"), below));
        commands.splice(0..0, below.collect::<Vec<_>>());
    }
    text.push_str(".SH \"EXIT STATUS\"\n");
    for row in exit::TABLE {
        text.push_str(&format!(".TP\n{}\n{}.\n", row.code, row.meaning));
    }
    text
}

fn visible(command: &clap::Command) -> Vec<(String, &clap::Command)> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    shown.map(|command| (command.get_name().to_owned(), command)).collect()
}
