//! Which tellings a command line asks for: of names, files and bundles, narrowed down by tags and families.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{RunArgs, Targets};
use crate::{
    bundle,
    evidence::Target,
    format::ClientCommand,
    library::{self, Found},
    near::did_you_mean,
    run::{self, InPlace, Named},
};

/// How many folders deep bundles are looked for. Default 1: as `--keep` makes them, `DIR/NAME/TARGET`.
const BUNDLES_BELOW: usize = 1;

/// How many bundles are named at most.
const BUNDLES_NAMED: usize = 5;

/// One telling that was asked for.
pub(super) struct Telling {
    pub(super) story: Named,
    /// What its file says.
    pub(super) text: String,
    /// Its file, or the directory of its bundle.
    source: PathBuf,
    /// The directory of its bundle, as it was typed.
    pub(super) bundle: Option<String>,
    pub(super) target: Target,
    pub(super) seed: u64,
    pub(super) client: Option<InPlace>,
    pub(super) through_proxy: bool,
}

/// The tellings that were asked for. All files are read before any is run.
pub(super) fn chosen(dir: &Path, args: &RunArgs) -> Result<Vec<Telling>, Vec<String>> {
    let mut names = args.names.clone();
    if names.is_empty() {
        names = library::names(dir).map_err(|error| vec![error.to_string()])?;
    }
    let (mut tellings, mut errors) = (Vec::new(), Vec::new());
    for name in &names {
        match tellings_of(dir, name, args) {
            Ok(of_name) => tellings.extend(of_name),
            Err(error) => errors.push(error),
        }
    }
    // What is wrong with the command line is wrong with each name.
    errors.dedup();
    if !errors.is_empty() {
        return Err(errors);
    }
    let tags: Vec<_> = tellings.iter().flat_map(|telling| telling.story.scenario.tags.clone()).collect();
    tellings.retain(|telling| args.asks_for(&telling.story.scenario));
    if tellings.is_empty() {
        // A tag that somebody has was meant as it was said.
        let unknown = args.tag.iter().filter(|tag| !tags.contains(tag));
        let near = unknown.map(|tag| did_you_mean(tag, tags.iter().map(String::as_str)));
        return Err(vec![format!("no scenario fits what was asked for{}", near.collect::<String>())]);
    }
    let twice = told_twice(&tellings);
    if twice.is_empty() { Ok(tellings) } else { Err(twice) }
}

/// What would be kept, and shown, in one place: the second would take that of the first.
fn told_twice(tellings: &[Telling]) -> Vec<String> {
    let (mut places, mut errors) = (BTreeMap::new(), Vec::new());
    for telling in tellings {
        let place = telling.story.kept_in(telling.target);
        let Some(other) = places.insert(place, &telling.source) else { continue };
        let name = telling.story.folder();
        errors.push(if *other == telling.source {
            format!("{name:?} is named twice, by {}", other.display())
        } else {
            format!("two scenarios are called {name:?}: {} and {}", other.display(), telling.source.display())
        });
    }
    errors.dedup();
    errors
}

/// What is to be said of a folder that is no bundle.
fn no_bundle(folder: &Path) -> String {
    let (mut bundles, mut folders) = (Vec::new(), vec![(folder.to_owned(), 0)]);
    while let Some((folder, depth)) = folders.pop() {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let (found, others): (Vec<_>, Vec<_>) =
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).partition(|path| bundle::is_one(path));
        bundles.extend(found.into_iter().map(|path| path.display().to_string()));
        if depth < BUNDLES_BELOW {
            folders.extend(others.into_iter().map(|path| (path, depth + 1)));
        }
    }
    bundles.sort();
    let more = bundles.len().saturating_sub(BUNDLES_NAMED);
    bundles.truncate(BUNDLES_NAMED);
    let below = match (bundles.is_empty(), more) {
        (true, _) => String::new(),
        (false, 0) => format!("; the bundles below it are {}", bundles.join(", ")),
        (false, more) => format!("; the bundles below it are {} and {more} more", bundles.join(", ")),
    };
    format!("{} is a folder, and neither a scenario's file nor a bundle{below}", folder.display())
}

/// All cells of a scenario on all targets; of a bundle what ran, as it ran.
fn tellings_of(dir: &Path, name: &str, args: &RunArgs) -> Result<Vec<Telling>, String> {
    let of_bundle = bundle::is_one(Path::new(name)).then(|| name.to_owned());
    let (stories, target, seed, client, through_proxy) = if of_bundle.is_some() {
        let bundle = bundle::read(Path::new(name)).map_err(|error| error.to_string())?;
        let mut stories =
            library::load(dir, &bundle.scenario.display().to_string()).map_err(|error| error.to_string())?;
        let written_in = |command: ClientCommand| match &bundle.client_written_in {
            Some(here) => command.written_in(here),
            None => command,
        };
        for found in &mut stories {
            (found.story.name, found.file) = (bundle.name.clone(), PathBuf::from(name));
            found.story.scenario.set_clients(|client| client.command = client.command.take().map(written_in));
        }
        let client = bundle.client.map(written_in);
        let client = client.map(|command| InPlace { command, dialect: bundle.dialect, is_of_bundle: true });
        (stories, bundle.target.into(), bundle.seed, client, bundle.through_proxy)
    } else if Path::new(name).is_dir() {
        return Err(no_bundle(Path::new(name)));
    } else {
        (library::load(dir, name).map_err(|error| error.to_string())?, Targets::All, run::SEED, None, false)
    };
    let client = args.in_place(client)?;
    let through_proxy = through_proxy || args.through_proxy;
    let (targets, seed) = (args.target.unwrap_or(target), args.seed.unwrap_or(seed));
    let each = stories.into_iter().flat_map(|Found { story, text, file }| {
        let (client, bundle) = (client.clone(), of_bundle.clone());
        let foreign = client.is_some();
        // Simulation has no programs: of both targets one is left for whoever put one in the client's place.
        let told = targets
            .each()
            .iter()
            .filter(move |target| !(foreign && matches!((targets, target), (Targets::All, Target::Sim))));
        told.map(move |target| Telling {
            story: story.clone(),
            text: text.clone(),
            source: file.clone(),
            bundle: bundle.clone(),
            target: *target,
            seed,
            client: client.clone(),
            through_proxy,
        })
    });
    Ok(each.collect())
}

#[cfg(test)]
mod tests {
    use super::{super::tests::args, *};

    #[test]
    fn nothing_is_run_while_any_file_is_wrong() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), "format = 2").unwrap();
        let errors = chosen(dir.path(), &args(&["a", "b"])).err().unwrap();
        assert_eq!(errors.len(), 2);
        assert!(errors[0].contains("reads format 1"), "{}", errors[0]);
    }

    #[test]
    fn a_tag_that_nobody_has_is_answered_with_the_nearest() {
        let dir = tempfile::tempdir().unwrap();
        let story = "format = 1\nwhy = \"w\"\ntags = [\"resume\"]\nsource = { size = \"1MiB\", seed = 1 }\n\
                     [[step]]\nupload = {}\nexpect = \"finished\"\n";
        std::fs::write(dir.path().join("a.toml"), story).unwrap();
        let errors = chosen(dir.path(), &args(&["--tag", "resme"])).err().unwrap();
        assert_eq!(errors, ["no scenario fits what was asked for: did you mean resume?"]);
        let errors = chosen(dir.path(), &args(&["--tag", "resume", "--skip-tag", "resume"])).err().unwrap();
        assert_eq!(errors, ["no scenario fits what was asked for"]);
    }
}
