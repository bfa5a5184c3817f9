//! A client that is not ours: what its command is filled in with, what it is told, and what its exit code says.

use std::{ffi::OsString, path::Path, time::Duration};

use std::process::ExitStatus;

use tokio::process::Command;
use vod_client::exit;
use vod_mock::{DEMO_SECRET_ID, DEMO_SECRET_KEY};
use vod_proto::{
    Family, Sha1,
    request::{TokenTerms, sign_token},
    sign::SecretKey,
};

use super::places::Places;
use crate::{
    clock,
    evidence::{ExitSays, StepEnd},
    format::{ClientCommand, CommandPlace, Scenario},
};

/// How long an upload signature holds where the file does not say: a day, which no story outlives.
const TOKEN_LIFE: Duration = Duration::from_secs(86_400);

/// How long our own client waits for an attempt in which nothing moves, which is what a client is told as `{stall-timeout}`
/// where the file does not say.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a step is run for.
pub(super) struct Setting<'a> {
    pub(super) places: &'a Places,
    pub(super) scenario: &'a Scenario,
    pub(super) endpoint: &'a str,
    /// What is uploaded.
    pub(super) file: &'a Path,
    pub(super) seed: u64,
    pub(super) file_sha1: Sha1,
    /// Where our own client finds a digest that it goes by; none where it takes its own.
    pub(super) digests: Option<&'a Path>,
}

/// The command, with everything filled in, and what it is told by the environment.
///
/// The caller's environment is its own too, for an interpreter finds itself and its libraries by it; but no proxy, which
/// would stand between client and mock, and nothing that only our programs read.
pub(super) fn command(client: &ClientCommand, setting: &Setting<'_>) -> Command {
    let words = client.filled_in(|place| value(place, setting));
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    for (name, _) in std::env::vars_os().filter(|(name, _)| !is_handed_on(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.env("VOD_ENDPOINT", setting.endpoint).env("VOD_FILE", setting.file);
    command.env("VOD_SECRET_ID", DEMO_SECRET_ID).env("VOD_SECRET_KEY", DEMO_SECRET_KEY);
    if setting.scenario.client.family == Family::Ugc {
        command.env("VOD_SIGNATURE", upload_signature(setting));
    }
    command
}

fn is_handed_on(name: &str) -> bool {
    !name.starts_with("VOD_") && name != "RUST_LOG" && !name.to_ascii_lowercase().ends_with("_proxy")
}

fn value(place: CommandPlace, Setting { scenario, endpoint, file, seed, .. }: &Setting<'_>) -> OsString {
    let client = &scenario.client;
    match place {
        CommandPlace::File => file.into(),
        CommandPlace::Endpoint => endpoint.into(),
        CommandPlace::Name => scenario.file_name().into(),
        CommandPlace::Family => client.family.name().into(),
        CommandPlace::Dialect => client.dialect.name().into(),
        CommandPlace::PartSize => client.part_size.bytes().to_string().into(),
        CommandPlace::Parallel => client.parallel.to_string().into(),
        CommandPlace::Attempts => scenario.attempts().to_string().into(),
        CommandPlace::StallTimeout => client.stall_timeout.unwrap_or(STALL_TIMEOUT).as_secs_f64().to_string().into(),
        CommandPlace::CoverOf => client.cover_of.clone().unwrap_or_default().into(),
        CommandPlace::Seed => seed.to_string().into(),
        // The command itself knows where it was written.
        CommandPlace::Here => OsString::new(),
    }
}

/// What an application's server hands to its users' browsers and apps, so that the key need not leave it.
fn upload_signature(Setting { scenario, seed, file_sha1, .. }: &Setting<'_>) -> String {
    let made = clock::unix_seconds();
    let life = scenario.client.token_life.unwrap_or(TOKEN_LIFE);
    let random = u32::try_from(seed % 1_000_000_000).unwrap_or(0);
    let expires = made + life.as_secs();
    let terms = TokenTerms {
        secret_id: DEMO_SECRET_ID,
        file_sha1: *file_sha1,
        made,
        expires,
        random: random.into(),
        uid: "user",
    };
    sign_token(&SecretKey::new(DEMO_SECRET_KEY), &scenario.facts(), &terms)
}

/// What its exit code says: 0 that the file is there, 8 that it failed and the file may be there all the same, as
/// `vod-client` has it, and anything else that it failed.
pub(super) fn ended(status: ExitStatus) -> StepEnd {
    let says = match status.code() {
        Some(code) if code == i32::from(exit::OK) => ExitSays::Stored,
        Some(code) if code == i32::from(exit::MAY_BE_COMMITTED) => ExitSays::FailedMaybeStored,
        _ => ExitSays::Failed,
    };
    StepEnd::Exited { says, how: status.to_string().replace(": ", " ") }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn the_exit_code_is_the_outcome() {
        let says = |raw: i32| match ended(ExitStatus::from_raw(raw)) {
            StepEnd::Exited { says, how } => (says, how),
            other => panic!("{other}"),
        };
        assert_eq!(says(0), (ExitSays::Stored, "exit status 0".to_owned()));
        assert_eq!(says(1 << 8), (ExitSays::Failed, "exit status 1".to_owned()));
        assert_eq!(says(8 << 8), (ExitSays::FailedMaybeStored, "exit status 8".to_owned()));
        assert_eq!(says(6), (ExitSays::Failed, "signal 6 (SIGABRT)".to_owned()));
    }

    #[test]
    fn what_a_client_finds_itself_by_is_handed_on_and_what_would_stand_in_the_way_is_not() {
        for name in ["PATH", "HOME", "NODE_PATH", "LANG"] {
            assert!(is_handed_on(name), "{name}");
        }
        for name in ["http_proxy", "HTTPS_PROXY", "no_proxy", "RUST_LOG", "VOD_SECRET_KEY", "VOD_CA"] {
            assert!(!is_handed_on(name), "{name}");
        }
    }
}
