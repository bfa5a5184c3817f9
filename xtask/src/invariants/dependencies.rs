//! Which crate must not depend on which, asked of cargo itself.

use std::process::Output;

use crate::cargo::{Failure, Line};

/// What a package must not reach over any number of normal dependencies, on any platform.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("vod-proto", &["tokio", "hyper", "rand", "reqwest"]),
    ("vod-client", &["vod-serve", "vod-mock", "vod-proxy"]),
    ("vod-serve", &["vod-mock", "vod-proxy", "vod-client"]),
    ("vod-mock", &["vod-proxy", "vod-client"]),
    ("vod-proxy", &["vod-mock", "vod-client"]),
];

/// A dependency that is there: were the question put wrongly, this one would be missed too.
const PRESENT: (&str, &str) = ("vod-client", "tokio");

/// What nobody here may depend on, tests included: a client made with it cannot be simulated.
const FORBIDDEN_EVERYWHERE: &[&str] = &["reqwest"];

/// Features that tests alone may have: with them a client or a mock can be made to err.
const FOR_TESTS: &[&str] = &["vod-client feature \"mutants\"", "vod-mock feature \"mutants\""];

/// How many dependencies are asked about.
pub(super) fn count() -> usize {
    FORBIDDEN.iter().map(|(_, names)| names.len()).sum::<usize>() + 1 + FORBIDDEN_EVERYWHERE.len() + FOR_TESTS.len()
}

/// Every dependency that is there and must not be, or the other way round.
pub(super) fn breaches() -> Result<Vec<String>, Failure> {
    let mut breaches = Vec::new();
    for (package, names) in FORBIDDEN {
        for name in *names {
            if let Edge::Present(tree) = ask(&["--package", package, "--edges", "normal"], name)? {
                breaches.push(format!("{package} depends on {name}:\n{tree}"));
            }
        }
    }
    for name in FORBIDDEN_EVERYWHERE {
        if let Edge::Present(tree) = ask(&["--workspace"], name)? {
            breaches.push(format!("the workspace depends on {name}:\n{tree}"));
        }
    }
    let (package, name) = PRESENT;
    if ask(&["--package", package, "--edges", "normal"], name)? == Edge::Absent {
        breaches.push(format!("{package} is not seen to depend on {name}, so these checks prove nothing"));
    }
    breaches.extend(for_tests(&features("normal,build,features")?, &features("all,features")?));
    Ok(breaches)
}

/// Every feature that reaches what is shipped and must not, or that no test has.
fn for_tests(shipped: &str, all: &str) -> Vec<String> {
    let has = |tree: &str, feature: &str| tree.lines().any(|line| line.starts_with(feature));
    let mut breaches = Vec::new();
    for feature in FOR_TESTS {
        if has(shipped, feature) {
            breaches.push(format!("what is shipped has {feature}, which is for tests"));
        }
        if !has(all, feature) {
            breaches.push(format!("no test is seen to have {feature}, so this check proves nothing"));
        }
    }
    breaches
}

/// What the packages of the workspace depend on over these edges, a line each, with their features.
fn features(edges: &str) -> Result<String, Failure> {
    let tree = ["tree", "--locked", "--color", "never", "--workspace", "--target", "all", "--prefix", "none"];
    let line = Line::cargo(&tree).with(["--edges", edges]);
    let Output { status, stdout, stderr } = line.output()?;
    if !status.success() {
        let why = String::from_utf8_lossy(&stderr);
        return Err(Failure(format!("`{line}` gave no answer ({status}): {}", why.trim())));
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// Does a package stand in a tree of dependencies?
#[derive(Debug, PartialEq, Eq)]
enum Edge {
    /// No.
    Absent,
    /// Yes, and this is how it got there.
    Present(String),
}

fn ask(scope: &[&str], name: &str) -> Result<Edge, Failure> {
    let line =
        Line::cargo(&["tree", "--locked", "--color", "never", "--target", "all"]).with(scope).with(["--invert", name]);
    let Output { status, stdout, stderr } = line.output()?;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    read(name, status.success(), &stdout, &stderr).ok_or_else(|| {
        let why = stderr.trim();
        Failure(format!("`{line}` gave no answer ({status}): {why}"))
    })
}

/// What `cargo tree --invert NAME` says; none where it says something else, such as that there is no lock file.
fn read(name: &str, success: bool, stdout: &str, stderr: &str) -> Option<Edge> {
    if success {
        // A package that is known but cut off by the kind of edge is a success with nothing to show.
        if stdout.trim().is_empty() {
            return stderr.contains("nothing to print").then_some(Edge::Absent);
        }
        return stdout.starts_with(&format!("{name} v")).then(|| Edge::Present(stdout.trim_end().to_owned()));
    }
    if stderr.contains(&format!("package ID specification `{name}` did not match any packages")) {
        return Some(Edge::Absent);
    }
    // Two versions of it: cargo wants to know which, we know enough.
    stderr
        .contains(&format!("specification `{name}` is ambiguous"))
        .then(|| Edge::Present(format!("{name}, in several versions")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_a_dependency_that_is_there() {
        let tree = "tokio v1.49.0\n└── vod-client v0.1.0\n";
        assert_eq!(read("tokio", true, tree, ""), Some(Edge::Present(tree.trim_end().to_owned())));
        let ambiguous =
            "error: There are multiple `rand` packages in your project, and the specification `rand` is ambiguous.\n";
        assert!(matches!(read("rand", false, "", ambiguous), Some(Edge::Present(_))));
    }

    #[test]
    fn a_feature_for_tests_is_in_no_binary_and_in_some_test() {
        let [client, mock] = FOR_TESTS else { panic!("there are two") };
        let all = format!("vod-client v0.1.0\n{client}\n{mock} (*)\n");
        assert_eq!(for_tests("vod-client v0.1.0\n", &all), Vec::<String>::new());
        let shipped = for_tests(&format!("{mock}\n"), &all);
        assert_eq!(shipped, ["what is shipped has vod-mock feature \"mutants\", which is for tests"]);
        assert_eq!(for_tests("", client).len(), 1);
    }

    #[test]
    fn both_ways_of_saying_no_are_absence() {
        let unmatched = "error: package ID specification `tokio` did not match any packages\n";
        assert_eq!(read("tokio", false, "", unmatched), Some(Edge::Absent));
        let nothing = "warning: nothing to print.\n\nTo find dependencies that require specific target platforms, …\n";
        assert_eq!(read("rand", true, "", nothing), Some(Edge::Absent));
    }

    #[test]
    fn any_other_failure_is_no_answer() {
        let other_package = "error: package ID specification `vod-protto` did not match any packages\n";
        assert_eq!(read("tokio", false, "", other_package), None);
        let locked = "error: cannot update the lock file Cargo.lock because --locked was passed to prevent this\n";
        assert_eq!(read("tokio", false, "", locked), None);
        assert_eq!(read("tokio", true, "", ""), None);
        assert_eq!(read("tokio", true, "tokio-util v0.7.0\n", ""), None);
    }
}
