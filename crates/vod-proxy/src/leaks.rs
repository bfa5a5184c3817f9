//! Looks for known secrets in all that was written: redaction is trusted, and checked all the same.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use memchr::memmem::Finder;

/// How much of a file is read at once, in bytes.
const AT_ONCE: usize = 256 << 10;

/// The shortest secret that is looked for, in bytes: a shorter one would be found everywhere.
pub const SHORTEST: usize = 6;

/// A secret that is looked for, in every form in which it may be written. It cannot be printed.
pub struct Secret {
    /// What it is called in reports, for its value is not told again.
    name: String,
    forms: Vec<(&'static str, Finder<'static>)>,
    longest: usize,
}

/// A secret that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Which secret.
    pub name: String,
    /// How it was written.
    pub form: &'static str,
    /// Where.
    pub path: PathBuf,
    /// In which line, counted from 1.
    pub line: u64,
}

impl Secret {
    /// A secret, and what to call it. None of one that is too short to be looked for.
    #[must_use]
    pub fn new(name: impl Into<String>, value: &str) -> Option<Self> {
        if value.len() < SHORTEST {
            return None;
        }
        let mut forms: Vec<(&'static str, Vec<u8>)> = vec![("as it is", value.into())];
        let percent = |upper: bool, all: bool| -> Vec<u8> {
            let mut out = Vec::new();
            for byte in value.bytes() {
                match byte {
                    _ if !all && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) => out.push(byte),
                    _ if upper => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                    _ => out.extend_from_slice(format!("%{byte:02x}").as_bytes()),
                }
            }
            out
        };
        for upper in [true, false] {
            forms.push(("percent-encoded", percent(upper, false)));
            forms.push(("percent-encoded", percent(upper, true)));
        }
        // In JSON a slash may have a backslash before it.
        forms.push(("as JSON", value.replace('/', "\\/").into()));
        forms.push(("in hexadecimal", hex::encode(value).into()));
        forms.extend(in_base64(value.as_bytes()).into_iter().map(|form| ("in Base64", form)));
        forms.sort_by(|a, b| a.1.cmp(&b.1));
        forms.dedup_by(|a, b| a.1 == b.1);
        let longest = forms.iter().map(|(_, form)| form.len()).max().unwrap_or(0);
        let forms = forms.into_iter().map(|(form, bytes)| (form, Finder::new(&bytes).into_owned())).collect();
        Some(Self { name: name.into(), forms, longest })
    }
}

/// What stands in Base64 of any text that has this in it, wherever: without the letters that its neighbours share.
fn in_base64(value: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for before in 0..3_usize {
        let padded = [&[0; 2][..before], value].concat();
        let text = data_encoding_of(&padded);
        // The first letters are made of what stands before it, the last one perhaps of what follows.
        let from = (before * 8).div_ceil(6);
        let to = padded.len() * 8 / 6;
        let core = &text[from..to];
        forms.push(core.as_bytes().to_vec());
        forms.push(core.replace('+', "-").replace('/', "_").into_bytes());
        forms.push(core.replace('+', "%2B").replace('/', "%2F").into_bytes());
    }
    forms
}

fn data_encoding_of(bytes: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
    STANDARD_NO_PAD.encode(bytes)
}

/// What came of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The secrets that were found.
    pub leaks: Vec<Leak>,
    /// What was not looked into: pipes, sockets, devices, and links to nothing.
    pub skipped: Vec<PathBuf>,
}

/// Looks for secrets in every regular file in a directory, or in one file.
///
/// # Errors
/// If something cannot be read, and what; also if `path` itself is neither a directory nor a regular file.
pub fn find(path: &Path, secrets: &[Secret]) -> Result<Found, (PathBuf, io::Error)> {
    let Found { mut leaks, mut skipped } = Found::default();
    let mut waiting = vec![path.to_owned()];
    // A link may lead back to where it stands.
    let mut walked = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        let failed = |error| (path.clone(), error);
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
                skipped.push(path);
                continue;
            }
            metadata => metadata.map_err(failed)?,
        };
        if metadata.is_dir() {
            if !walked.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            let mut entries = Vec::new();
            for entry in fs::read_dir(&path).map_err(failed)? {
                entries.push(entry.map_err(failed)?.path());
            }
            // The first is looked at first.
            entries.sort_by(|a, b| b.cmp(a));
            waiting.extend(entries);
        } else if metadata.is_file() {
            find_in(File::open(&path).map_err(failed)?, &path, secrets, &mut leaks).map_err(failed)?;
        } else {
            // Nothing is kept in it, and reading it might never end.
            skipped.push(path);
        }
    }
    if skipped.iter().any(|skipped| skipped == path) {
        return Err((path.to_owned(), io::Error::other("it is neither a directory nor a regular file")));
    }
    Ok(Found { leaks, skipped })
}

fn find_in(mut file: impl io::Read, path: &Path, secrets: &[Secret], leaks: &mut Vec<Leak>) -> io::Result<()> {
    let overlap = secrets.iter().map(|secret| secret.longest).max().unwrap_or(0).saturating_sub(1);
    let (mut held, mut line) = (Vec::new(), 1);
    loop {
        let before = held.len();
        let read = file.by_ref().take(AT_ONCE as u64).read_to_end(&mut held)?;
        if read == 0 {
            return Ok(());
        }
        for secret in secrets {
            for (form, finder) in &secret.forms {
                // What ends in what was there before was found before.
                let mut last = None;
                for at in finder.find_iter(&held).filter(|at| at + finder.needle().len() > before) {
                    let line = line + memchr::memchr_iter(b'\n', &held[..at]).count() as u64;
                    if last.replace(line) != Some(line) {
                        leaks.push(Leak { name: secret.name.clone(), form, path: path.to_owned(), line });
                    }
                }
            }
        }
        let passed = held.len().saturating_sub(overlap);
        line += memchr::memchr_iter(b'\n', &held[..passed]).count() as u64;
        held.drain(..passed);
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    const SECRET: &str = "AKID/z8krbs+5yKBZ=";

    fn found(text: &[u8]) -> Vec<&'static str> {
        let secrets = [Secret::new("the SecretId", SECRET).unwrap()];
        let mut leaks = Vec::new();
        find_in(text, Path::new("f"), &secrets, &mut leaks).unwrap();
        leaks.into_iter().map(|leak| leak.form).collect()
    }

    #[test]
    fn a_secret_is_found_in_every_form_in_which_it_may_be_written() {
        assert_eq!(found(format!("a{SECRET}b").as_bytes()), ["as it is"]);
        let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
        assert_eq!(found(percent.as_bytes()), ["percent-encoded"]);
        assert_eq!(
            found(percent.to_lowercase().replace("akid", "AKID").replace("kbz", "KBZ").as_bytes()),
            ["percent-encoded"]
        );
        assert_eq!(found(SECRET.replace('/', "\\/").as_bytes()), ["as JSON"]);
        for before in ["", "x", "xy", "xyz"] {
            for behind in ["", "x", "xy"] {
                let text = data_encoding_of(format!("{before}{SECRET}{behind}").as_bytes());
                assert_eq!(found(text.as_bytes()), ["in Base64"], "{before:?} {behind:?}");
                assert_eq!(found(text.replace('+', "-").replace('/', "_").as_bytes()), ["in Base64"]);
            }
        }
        assert_eq!(found(&SECRET.as_bytes()[1..]), [""; 0]);
        assert!(Secret::new("short", "abcde").is_none());
    }

    #[test]
    fn it_is_found_once_wherever_the_reading_is_interrupted_and_its_line_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bodies")).unwrap();
        let secrets = [Secret::new("s", SECRET).unwrap()];
        for at in (AT_ONCE - 20..=AT_ONCE).chain([0, 7]) {
            let path = dir.path().join("bodies/x");
            let text = format!("{}\n{SECRET}", "x".repeat(at));
            fs::write(&path, &text).unwrap();
            let leaks = find(dir.path(), &secrets).unwrap().leaks;
            assert_eq!(leaks, [Leak { name: "s".to_owned(), form: "as it is", path, line: 2 }], "at {at}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_skipped_and_told_and_no_link_leads_round_in_circles() {
        let dir = tempfile::tempdir().unwrap();
        let [socket, broken, around, path] = ["a-socket", "broken", "around", "file"].map(|name| dir.path().join(name));
        // A socket stands for a pipe, which would be waited for: neither is opened.
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        std::os::unix::fs::symlink("nowhere", &broken).unwrap();
        std::os::unix::fs::symlink(".", &around).unwrap();
        fs::write(&path, SECRET).unwrap();
        let secrets = [Secret::new("s", SECRET).unwrap()];
        let found = find(dir.path(), &secrets).unwrap();
        let leak = Leak { name: "s".to_owned(), form: "as it is", path, line: 1 };
        assert_eq!(found, Found { leaks: vec![leak], skipped: vec![socket.clone(), broken] });
        assert_eq!(find(&socket, &secrets).unwrap_err().0, socket, "what is asked for by name is not passed over");
    }
}
