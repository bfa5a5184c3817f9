//! The marks of a page, and what is printed between them.

/// Opens a table: its name stands between these.
const OPEN: (&str, &str) = ("<!-- table: ", " -->");

/// Closes a table.
const CLOSE: &str = "<!-- /table -->";

/// The marks of a table, for messages.
pub(super) fn marks(name: &str) -> String {
    format!("{}{name}{} … {CLOSE}", OPEN.0, OPEN.1)
}

/// A page as it would be printed now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Printed {
    /// All of it.
    pub(super) text: String,
    /// The names of the tables in it.
    pub(super) found: Vec<String>,
    /// The tables that were not up to date: where, what stands there, what should.
    pub(super) stale: Vec<String>,
    /// What is wrong with the marks themselves.
    pub(super) faults: Vec<String>,
}

/// Prints every table of a page anew. What stands outside the marks, or between marks that are wrong, stays.
pub(super) fn print(path: &str, text: &str, render: impl Fn(&str) -> Result<String, String>) -> Printed {
    let mut printed = Printed::default();
    let mut lines = text.split_inclusive('\n').enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        printed.text.push_str(line);
        let place = format!("{path}:{}", at + 1);
        if line.trim_end() == CLOSE {
            printed.faults.push(format!("{place}: {CLOSE} closes no table"));
        }
        let Some(name) = line.trim_end().strip_prefix(OPEN.0).and_then(|rest| rest.strip_suffix(OPEN.1)) else {
            continue;
        };
        let mut old = Vec::new();
        while let Some((at, line)) = lines.next_if(|(_, line)| line.trim_end() != CLOSE && !line.starts_with(OPEN.0)) {
            old.push((at, line));
        }
        let closed = lines.peek().is_some_and(|(_, line)| line.trim_end() == CLOSE);
        match render(name) {
            Ok(new) if closed => {
                printed.stale.extend(difference(path, at, name, &old, &new));
                printed.text.push_str(&new);
                printed.found.push(name.to_owned());
                printed.text.extend(lines.next().map(|(_, line)| line));
                continue;
            }
            Ok(_) => printed.faults.push(format!("{place}: table {name} is not closed: expected {CLOSE}")),
            Err(why) => printed.faults.push(format!("{place}: {why}")),
        }
        printed.text.extend(old.into_iter().map(|(_, line)| line));
        if closed {
            printed.text.extend(lines.next().map(|(_, line)| line));
        }
    }
    printed
}

/// The first line in which a table differs from what it should be. `at` is the line of its mark, counted from 0.
fn difference(path: &str, at: usize, name: &str, old: &[(usize, &str)], new: &str) -> Option<String> {
    let mut new = new.lines();
    for (at, found) in old {
        match new.next() {
            Some(expected) if expected == found.trim_end_matches('\n') => {}
            Some(expected) => {
                let found = found.trim_end();
                return Some(format!(
                    "{path}:{}: table {name} is not up to date\n  found    {found}\n  expected {expected}",
                    at + 1
                ));
            }
            None => {
                let found = found.trim_end();
                return Some(format!("{path}:{}: table {name} is not up to date\n  too much {found}", at + 1));
            }
        }
    }
    let expected = new.next()?;
    let end = old.last().map_or(at, |(at, _)| *at);
    Some(format!("{path}:{}: table {name} is not up to date\n  missing  {expected}", end + 2))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn render(name: &str) -> Result<String, String> {
        if name == "ab" { Ok("a\nb\n".to_owned()) } else { Err(format!("no table {name:?}")) }
    }

    fn check(page: &str, expected: Expect) -> String {
        let printed = print("p.md", page, render);
        expected.assert_eq(&[printed.stale, printed.faults].concat().join("\n"));
        printed.text
    }

    #[test]
    fn what_stands_between_the_marks_is_replaced_and_nothing_else() {
        let page = "# x\n<!-- table: ab -->\na\nb\n<!-- /table -->\ny";
        assert_eq!(check(page, expect![""]), page);
        for old in ["", "a\n", "a\nc\n", "a\nb\nc\n", "\n\n\n"] {
            assert_eq!(print("p.md", &page.replace("a\nb\n", old), render).text, page, "{old:?}");
        }
    }

    #[test]
    fn the_first_line_that_differs_is_shown() {
        let page = |old: &str| format!("# x\n<!-- table: ab -->\n{old}<!-- /table -->\n");
        check(
            &page("a\nc\n"),
            expect![[r#"
                p.md:4: table ab is not up to date
                  found    c
                  expected b"#]],
        );
        check(
            &page("a\n"),
            expect![[r#"
                p.md:4: table ab is not up to date
                  missing  b"#]],
        );
        check(
            &page("a\nb\n\n"),
            expect![[r#"
                p.md:5: table ab is not up to date
                  too much "#]],
        );
    }

    #[test]
    fn wrong_marks_are_named_and_leave_the_page_as_it_is() {
        for (page, expected) in [
            ("<!-- table: cd -->\nx\n<!-- /table -->\n", expect![[r#"p.md:1: no table "cd""#]]),
            ("<!-- table: ab -->\nx\n", expect!["p.md:1: table ab is not closed: expected <!-- /table -->"]),
            (
                "<!-- table: ab -->\nx\n<!-- table: cd -->\n<!-- /table -->\n",
                expect![[r#"
                    p.md:1: table ab is not closed: expected <!-- /table -->
                    p.md:3: no table "cd""#]],
            ),
            ("x\n<!-- /table -->\n", expect!["p.md:2: <!-- /table --> closes no table"]),
        ] {
            assert_eq!(check(page, expected), page);
        }
    }
}
