//! `cargo xtask dist`: what people without Rust use. Static binaries, as an archive with the scenarios and the documents, and
//! as the folder of which a container image is built.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{
    cargo::{self, Failure, Line, root},
    tracked,
};

const PROGRAMS: [&str; 4] = ["vod-client", "vod-mock", "vod-proxy", "vod-scenario"];

/// What lies beside the programs in the archive, as git knows it.
const BESIDE: [&str; 7] =
    ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md", "docs", "examples/clients", "scenarios"];

/// The C library goes into the binaries, so that they start wherever there is a Linux kernel. It is that of the toolchain's own
/// target: glibc has files and DNS built in since 2.34, so that names are resolved without any file beside the binary.
const STATIC: &str = "-C target-feature=+crt-static";

const DOCKERFILE: &str = include_str!("dist/Dockerfile");

/// Builds, checks and packs everything for this target, or for the machine's own.
///
/// # Errors
/// Says what could not be built, is not static, or could not be written.
pub(crate) fn run(target: Option<String>) -> Result<ExitCode, Failure> {
    let target = target.map_or_else(host, Ok)?;
    if !target.contains("-linux-") {
        return Err(Failure(format!("static binaries are made for Linux, and {target} is something else")));
    }
    let built = build(&target)?;
    for program in &built {
        check_static(program)?;
    }
    let dist = target_dir(&built[0])?.join("dist");
    let name = format!("vod-testkit-{}-{target}", env!("CARGO_PKG_VERSION"));
    let archive = pack(&dist, &name, &built)?;
    let digest = digest_file(&archive)?;
    let container = fill_container(&dist, &built)?;
    for made in [archive, digest, container] {
        eprintln!("made {}", made.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// The machine's own target, by rustc.
fn host() -> Result<String, Failure> {
    let line = Line::new("rustc", &["--version", "--verbose"]);
    let said = line.output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure(format!("`{line}` names no host")))
}

fn build(target: &str) -> Result<[PathBuf; 4], Failure> {
    // No path of whoever builds stands in a binary.
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let remap = home.map(|home| format!(" --remap-path-prefix={home}=cargo")).unwrap_or_default();
    let remap = format!("{remap} --remap-path-prefix={}=vod-testkit", root().display());
    // With a target named, the flags are not those of build scripts and macros, which could not be loaded.
    let line = Line::cargo(&["build", "--release", "--locked", "--target", target])
        .env("RUSTFLAGS", format!("{STATIC}{remap}"))
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    cargo::build_with(line, PROGRAMS)
}

/// Asks whether a binary starts without a loader and without libraries.
fn check_static(program: &Path) -> Result<(), Failure> {
    let line = Line::new("readelf", &["--wide", "--program-headers", "--dynamic"]).with([program]);
    let said = line.output()?;
    if !said.status.success() {
        return Err(line.failed(said.status));
    }
    match needs(&String::from_utf8_lossy(&said.stdout)) {
        None => Ok(()),
        Some(needed) => Err(Failure(format!("{} is not static: {needed}", program.display()))),
    }
}

/// The first line of readelf's words that says what a binary cannot do without.
fn needs(said: &str) -> Option<&str> {
    said.lines().map(str::trim).find(|line| line.contains("program interpreter") || line.contains("(NEEDED)"))
}

/// Cargo puts a target's binaries into `TARGET/release` under the one that it knows of.
fn target_dir(program: &Path) -> Result<&Path, Failure> {
    program.ancestors().nth(3).ok_or_else(|| Failure(format!("{} lies in no target directory", program.display())))
}

/// Makes the archive: a folder of its name, and in it the programs and what lies beside them.
fn pack(dist: &Path, name: &str, programs: &[PathBuf]) -> Result<PathBuf, Failure> {
    let folder = emptied(&dist.join(name))?;
    copy_programs(programs, &folder)?;
    copy_tracked(&BESIDE, &folder)?;
    let archive = dist.join(format!("{name}.tar.gz"));
    // The same bytes from the same commit, whoever packs it and when.
    let commit = Line::new("git", &["log", "-1", "--format=@%ct"]).stdout()?;
    let time = format!("--mtime={}", String::from_utf8_lossy(&commit).trim());
    let tar =
        Line::new("tar", &["--create", "--use-compress-program=gzip -9n", "--sort=name", &time, "--numeric-owner"])
            .with(["--owner=0", "--group=0", "--mode=u+rw,go=rX", "--file"])
            .with([archive.as_os_str(), "--directory".as_ref(), dist.as_os_str(), name.as_ref()]);
    tar.stdout()?;
    Ok(archive)
}

/// The file that `sha256sum --check` reads.
fn digest_file(archive: &Path) -> Result<PathBuf, Failure> {
    let said = Line::new("sha256sum", &[]).with([archive]).stdout()?;
    let said = String::from_utf8_lossy(&said).into_owned();
    let name = archive.file_name().unwrap_or_default().to_string_lossy();
    let path = archive.with_file_name(format!("{name}.sha256"));
    let digest = said.split_whitespace().next().unwrap_or_default();
    fs::write(&path, format!("{digest}  {name}\n"))
        .map_err(|error| Failure(format!("{} could not be written: {error}", path.display())))?;
    Ok(path)
}

/// Makes the folder of which an image is built.
fn fill_container(dist: &Path, programs: &[PathBuf]) -> Result<PathBuf, Failure> {
    let container = emptied(&dist.join("container"))?;
    let image = container.join("root");
    copy_programs(programs, &image.join("bin"))?;
    copy_tracked(&["scenarios"], &image)?;
    let written = ["tmp", "data"].into_iter().try_for_each(|writable| {
        let writable = image.join(writable);
        fs::create_dir(&writable)?;
        fs::set_permissions(&writable, Permissions::from_mode(0o1777))
    });
    written
        .and_then(|()| fs::write(container.join("Dockerfile"), DOCKERFILE))
        .map_err(|error| Failure(format!("{} could not be filled: {error}", container.display())))?;
    Ok(container)
}

fn emptied(folder: &Path) -> Result<PathBuf, Failure> {
    let removed = match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::create_dir_all(folder),
    };
    removed.map_err(|error| Failure(format!("{} could not be made: {error}", folder.display())))?;
    Ok(folder.to_owned())
}

fn copy_programs(programs: &[PathBuf], folder: &Path) -> Result<(), Failure> {
    programs.iter().try_for_each(|program| copy(program, &folder.join(program.file_name().unwrap_or_default())))
}

/// Copies what git tracks under these paths.
fn copy_tracked(paths: &[&str], folder: &Path) -> Result<(), Failure> {
    tracked::paths(paths)?.iter().try_for_each(|path| copy(&root().join(path), &folder.join(path)))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let folder = to.parent().map_or(Ok(()), fs::create_dir_all);
    let copied = folder.and_then(|()| fs::copy(from, to));
    copied.map(drop).map_err(|error| Failure(format!("{} could not be copied: {error}", from.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_test_is_not_static_and_is_told_so() {
        let program = std::env::current_exe().unwrap();
        let Failure(why) = check_static(&program).unwrap_err();
        assert!(why.contains("is not static: "), "{why}");
    }

    #[test]
    fn a_binary_without_loader_and_libraries_needs_nothing() {
        let relocatable = "Elf file type is DYN (Position-Independent Executable file)\n 0x000000006ffffffb (FLAGS_1) Flags: NOW PIE\n";
        assert_eq!(needs(relocatable), None);
        let library = " 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]";
        assert_eq!(needs(&format!("{relocatable}{library}\n")), Some(library.trim()));
    }

    #[test]
    fn what_is_packed_is_tracked_and_its_digest_checks() {
        for path in BESIDE {
            assert!(!tracked::paths(&[path]).unwrap().is_empty(), "nothing is tracked under {path}");
        }
        let dist = tempfile::tempdir().unwrap();
        let program = dist.path().join("vod-mock");
        fs::write(&program, "a program").unwrap();
        let archive = pack(dist.path(), "packed", std::slice::from_ref(&program)).unwrap();
        let first = fs::read(&archive).unwrap();
        let digest = digest_file(&archive).unwrap();
        let check =
            std::process::Command::new("sha256sum").arg("--check").arg(&digest).current_dir(dist.path()).output();
        assert!(check.unwrap().status.success());
        let again = pack(dist.path(), "packed", &[program]).unwrap();
        assert_eq!(fs::read(again).unwrap(), first, "the same files make the same archive");
    }

    #[test]
    fn the_image_has_the_programs_the_scenarios_and_places_to_write() {
        let dist = tempfile::tempdir().unwrap();
        let program = dist.path().join("vod-mock");
        fs::write(&program, "a program").unwrap();
        let container = fill_container(dist.path(), &[program]).unwrap();
        for file in ["Dockerfile", "root/bin/vod-mock", "root/scenarios/plain/plain-upload.toml"] {
            assert!(container.join(file).is_file(), "{file}");
        }
        let mode = fs::metadata(container.join("root/tmp")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o1777);
    }
}
