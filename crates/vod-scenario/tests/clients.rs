//! The clients of `examples/clients`, each in every story of the server family: `upload.py::NAME`, `upload.mjs::NAME`.
//!
//! What does not apply to them: covers, which they do not upload, and the other families, which they do not speak.
//! Where an interpreter is missing its client is skipped, loudly.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use libtest_mimic::{Arguments, Failed, Trial};
use vod_proto::Family;
use vod_scenario::{
    evidence::Target,
    format::{ClientCommand, Scenario},
    judge::Verdict,
    library,
    report::report,
    run::{self, InPlace, Named, Settings},
};

/// What each is handed.
const HANDED: &str = "{file} {endpoint} --part-size {part-size} --parallel {parallel} --attempts {attempts} \
                      --stall-timeout {stall-timeout}";

fn main() {
    let mut arguments = Arguments::from_args();
    // They mostly wait: for a client that waits for the mock, which takes its time on purpose.
    arguments.test_threads.get_or_insert(4);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let names = library::names(&root.join(library::DIR)).unwrap_or_else(|error| panic!("{error}"));
    let found = |name: &String| library::load(&root.join(library::DIR), name).unwrap_or_else(|error| panic!("{error}"));
    let stories: Vec<Named> = names.iter().flat_map(found).map(|found| found.story).collect();
    let mut trials = Vec::new();
    for (interpreter, client) in [("python3", "upload.py"), ("node", "upload.mjs")] {
        if !on_path(interpreter) {
            // Past the capture of the test harness: whoever runs this must see what was not proved.
            let words = format!("SKIPPED: {interpreter} is not on PATH: examples/clients/{client} was NOT tested");
            let _ = writeln!(std::io::stderr(), "\n{words}\n");
            continue;
        }
        let command = format!("{interpreter} examples/clients/{client} {HANDED}");
        for story in stories.iter().filter(|story| applies(&story.scenario)) {
            let (command, root, story) = (command.clone(), root.clone(), story.clone());
            trials.push(Trial::test(format!("{client}::{}", story.name), move || passes(&root, &story, &command)));
        }
        // A library without such stories would make every run of this file a success.
        let many = trials.len();
        let enough = move || if many >= 25 { Ok(()) } else { Err(format!("only {many} stories apply").into()) };
        trials.push(Trial::test(format!("{client} has stories"), enough));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

fn applies(scenario: &Scenario) -> bool {
    scenario.client.family == Family::Server && scenario.client.cover_of.is_none() && scenario.client.command.is_none()
}

fn passes(root: &Path, story: &Named, command: &str) -> Result<(), Failed> {
    let command: ClientCommand = command.parse()?;
    let client = Some(InPlace { command: command.written_in(root), dialect: None, is_of_bundle: false });
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_vod-scenario"));
    let run = run::run(story, Target::Process, &Settings { binary, client, ..Settings::default() });
    // A story that only our own client can be made to tell says so.
    if run.skipped().is_some() || run.verdict() == Verdict::Pass { Ok(()) } else { Err(report(&run).into()) }
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}
