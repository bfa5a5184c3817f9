//! The exit codes on paper, and what `explain` says of codes.

use expect_test::expect_file;
use vod_client::exit;

use super::{check, run, run_with};

/// `UPDATE_EXPECT=1` writes the page anew.
#[test]
fn the_page_of_exit_codes_is_the_table_of_the_program() {
    let mut page = "# Exit codes of `vod-client`\n\n\
        Scripts may depend on them: a number, once given out, keeps its meaning.\n\
        `vod-client explain exit CODE` says the same; the table is printed from `crates/vod-client/src/exit.rs`, and \
        a test holds it against that.\n\n\
        | code | `kind` in `--json` | what happened | what to do |\n|---|---|---|---|\n"
        .to_owned();
    for row in exit::TABLE {
        let kind = row.kind.unwrap_or_default();
        page += &format!("| {} | {kind} | {} | {} |\n", row.code, row.meaning, row.then);
    }
    page += "\n## Several files\n\n\
        One file's failure does not stop the others.\n\
        If files fail differently, the program ends with the code that needs most attention: the first of these that \
        occurred.\n\n";
    page += &exit::WORST_FIRST.map(|code| format!("`{code}`")).join(", ");
    page += ".\n\n\
        First comes what must not be answered by running the command again, last what is mended by just that.\n\
        So 8 is never hidden behind another file's failure, and 6 means that the same command again is all there is to \
        do.\n\
        The line of each file in `--json` has its own code, as `exit`.\n";
    expect_file!["../../../../docs/exit-codes.md"].assert_eq(&page);
}

#[test]
fn a_code_is_explained_though_it_looks_like_a_flag() {
    let ran = run_with(&["explain", "-10004"], &[], "");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("-10004: the server could not write what it must remember\n"), "{}", ran.stdout);
    let ran = run_with(&["explain", "exit", "8"], &[], "");
    assert!(ran.stdout.starts_with("exit code 8: the upload failed, but the server may have stored"), "{}", ran.stdout);
    check(&run(&["explain", "soon"]), 3, "", r#"error: the code is "soon": expected a number such as -10004"#);
}
