//! Every rule is seen to speak where it is broken, with the exchanges that prove it, and to keep silent beside that.

use std::collections::BTreeSet;

use super::crafted::*;
use crate::{
    Exchange, Family, Limits, Md5, PartSpan,
    exchange::End,
    lint::{Lacking, lint},
    rules,
};

const SERVER: Family = Family::Server;
const UGC: Family = Family::Ugc;
const LEGACY: Family = Family::Legacy;

/// Exactly these rules are broken, with this proof each.
#[track_caller]
fn check(story: &Story, expected: &[(&str, &[u64])]) {
    let findings = story.findings();
    let found: Vec<_> = findings.iter().map(|finding| (finding.rule.id, &finding.exchanges[..])).collect();
    assert_eq!(found, expected, "{}", to_lines(&findings));
}

#[track_caller]
fn silent(story: &Story) {
    check(story, &[]);
}

/// What `act` makes of an upload of this family that was not begun yet.
fn story(family: Family, act: impl FnOnce(&mut Story)) -> Story {
    let mut story = Story::of(family);
    act(&mut story);
    story
}

/// A whole upload, with something changed in it or added to it.
fn whole(family: Family, act: impl FnOnce(&mut Story)) -> Story {
    let mut story = Story::whole(family);
    act(&mut story);
    story
}

/// A whole upload with an exchange changed. They are counted from 1.
fn edited(family: Family, seq: usize, from: &str, to: &str) -> Story {
    whole(family, |story| _ = story.exchanges[seq - 1].edit(from, to))
}

/// An upload that was opened, with what follows.
fn opened(family: Family, act: impl FnOnce(&mut Story)) -> Story {
    story(family, |story| {
        story.open(&fresh());
        act(story);
    })
}

/// Parts 0 and 1 are there when the upload is opened anew.
fn resumed(family: Family, act: impl FnOnce(&mut Story)) -> Story {
    opened(family, |story| {
        story.part(0, OK);
        story.part(1, OK);
        story.part(2, OK).unanswered(End::Killed);
        story.open(&resume(PART, &[0, 1]));
        act(story);
    })
}

fn signed_with(change: impl Fn(&str) -> String) -> Story {
    use crate::{Query, sign::SecretKey, ugc::UploadSignature};
    whole(UGC, |story| {
        for exchange in &mut story.exchanges {
            let (_, query) = exchange.path_and_query();
            let given = query.get("signature").unwrap().into_owned();
            let fields = UploadSignature::decode(&given).unwrap().fields().to_string();
            let changed = UploadSignature::sign(&SecretKey::new("k"), &Query::parse(&change(&fields)));
            let (mut old, mut new) = (Query::default(), Query::default());
            old.push("signature", given);
            new.push("signature", changed);
            exchange.edit(&old.to_string(), &new.to_string());
        }
    })
}

/// A rule, a story that breaks it and no other, and the exchanges that prove it.
type Breach = (&'static str, fn() -> Story, &'static [u64]);

const BREACHES: &[Breach] = &[
    ("documented-method", || whole(SERVER, |story| story.exchanges[0].request.method = "POST".to_owned()), &[1]),
    ("documented-method", || whole(LEGACY, |story| story.exchanges[1].request.method = "GET".to_owned()), &[2]),
    ("documented-path", || edited(SERVER, 5, "/v2/", "/v3/"), &[5]),
    (
        "documented-path",
        || whole(UGC, |story| (2..4).for_each(|at| _ = story.exchanges[at].edit("/v2/", "/v3/"))),
        &[3, 4],
    ),
    ("tags-plural", || edited(SERVER, 1, "&Region", "&tag.1=a&Region"), &[1]),
    (
        "digest-lower-case",
        || {
            let sha1 = Story::file_sha1().to_string();
            edited(SERVER, 1, &sha1, &sha1.to_uppercase())
        },
        &[1],
    ),
    ("timestamp-seconds", || edited(SERVER, 2, "1465185768", "1465185768000"), &[2]),
    ("part-content-length", || whole(SERVER, |story| story.exchanges[1].request.headers.clear()), &[2]),
    ("part-content-length", || whole(UGC, |story| story.exchanges[1].request.headers[0].1 = "3".to_owned()), &[2]),
    ("legacy-content-length", || whole(LEGACY, |story| story.exchanges[2].request.headers.clear()), &[3]),
    (
        "no-empty-tail",
        || {
            opened(SERVER, |story| {
                story.part_at(PartSpan { offset: SIZE, len: 0 }, Md5::of(b""), OK);
            })
        },
        &[2],
    ),
    ("file-name-no-pipe", || edited(SERVER, 1, "fileName=test", "fileName=a%7Cb"), &[1]),
    (
        "ugc-part-size",
        || {
            story(UGC, |story| {
                story.open_in(PART + 1, &fresh());
            })
        },
        &[1],
    ),
    ("file-sha-required", || edited(UGC, 5, &format!("&fileSha={}", Story::file_sha1()), ""), &[5]),
    ("signature-name", || edited(UGC, 5, "&signature=", "&Signature="), &[5]),
    ("signature-fields", || signed_with(|fields| fields.replace("&uid=1", "")), &[1, 2, 3, 4, 5]),
    ("signature-random", || signed_with(|fields| fields.replace("&r=1", "&r=12345678901")), &[1, 2, 3, 4, 5]),
    ("expiry-seconds", || signed_with(|fields| fields.replace("1465285768", "1465285768000")), &[1, 2, 3, 4, 5]),
    ("expiry-90-days", || signed_with(|fields| fields.replace("1465285768", "1495285768")), &[1, 2, 3, 4, 5]),
    ("legacy-http-only", || whole(LEGACY, |story| story.exchanges[0].request.tls = true), &[1]),
    ("cover-prefix", || edited(SERVER, 1, "&Region", "&usage=1&fileId=7&Region"), &[1]),
    (
        "known-actions",
        || {
            whole(SERVER, |story| {
                story.exchanges[4].action = Some("finishUpload".to_owned());
            })
        },
        &[5],
    ),
    (
        "known-actions",
        || {
            whole(SERVER, |story| {
                story.exchanges[4].action = None;
            })
        },
        &[5],
    ),
    ("known-parameters", || edited(SERVER, 4, "&Region", "&contentLen=5&Region"), &[4]),
    ("parameters", || edited(SERVER, 2, "dataMd5=", "dataMd5=x"), &[2]),
    ("parameters", || edited(LEGACY, 3, "&Nonce=3", ""), &[3]),
    (
        "part-grid",
        || {
            opened(SERVER, |story| {
                story.part_at(PartSpan { offset: 1, len: PART }, Story::md5(0), NO);
            })
        },
        &[1, 2],
    ),
    (
        "part-grid",
        || {
            opened(UGC, |story| {
                story.part_at(PartSpan { offset: 2 * PART, len: PART }, Story::md5(2), NO);
            })
        },
        &[1, 2],
    ),
    ("part-body", || whole(SERVER, |story| story.exchanges[1].request.body.len -= 1), &[2]),
    ("part-body", || whole(UGC, |story| story.exchanges[3].request.body.md5 = Some(Md5::of(b"all of it"))), &[4]),
    (
        "open-before-parts",
        || {
            story(SERVER, |story| {
                story.part(0, FORGOTTEN);
                story.part(1, FORGOTTEN);
            })
        },
        &[1],
    ),
    (
        "open-before-parts",
        || {
            story(UGC, |story| {
                story.open(&fresh()).took(300);
                story.part(0, FORGOTTEN);
            })
        },
        &[2],
    ),
    (
        "open-before-parts",
        || {
            story(UGC, |story| {
                story.open(&fresh()).unanswered(End::Reset);
                story.finish(NO);
            })
        },
        &[2],
    ),
    (
        "finish-after-parts",
        || {
            opened(SERVER, |story| {
                story.part(0, OK);
                story.part(2, OK);
                story.finish(NO);
            })
        },
        &[4],
    ),
    (
        "finish-after-parts",
        || {
            opened(UGC, |story| {
                story.part(0, OK);
                story.part(1, OK);
                story.part(2, OK).took(300);
                story.finish(NO);
            })
        },
        &[4, 5],
    ),
    (
        "no-part-after-stored",
        || {
            whole(SERVER, |story| {
                story.part(1, OK);
                story.part(2, OK);
            })
        },
        &[5, 6],
    ),
    (
        "no-part-after-stored",
        || {
            story(UGC, |story| {
                story.open(&exists());
                story.part(0, OK);
            })
        },
        &[1, 2],
    ),
    ("no-part-after-stored", || whole(LEGACY, |story| _ = story.next(1, &stored())), &[3, 4]),
    (
        "dictated-offset",
        || {
            story(LEGACY, |story| {
                story.next(0, &goes_on(PART));
                story.next(2, &goes_on(PART));
            })
        },
        &[1, 2],
    ),
    (
        "dictated-offset",
        || {
            story(LEGACY, |story| {
                story.next(0, "").unanswered(End::Reset);
                story.next(1, &goes_on(0));
            })
        },
        &[2],
    ),
    (
        "nothing-after-final",
        || {
            opened(SERVER, |story| {
                story.part(0, FORBIDDEN);
                story.part(0, OK);
            })
        },
        &[2, 3],
    ),
    (
        "nothing-after-final",
        || {
            story(LEGACY, |story| {
                story.next(0, &goes_on(PART));
                story.next(1, &refused(-25986));
                story.next(1, &goes_on(2 * PART));
            })
        },
        &[2, 3],
    ),
    // An upload may be begun once more by a process that was started again, and not twice.
    ("nothing-after-final", || story(SERVER, |story| (0..3).for_each(|_| _ = story.open(FORBIDDEN))), &[1, 2, 3]),
    (
        "can-retry",
        || {
            opened(UGC, |story| {
                story.part(0, NO);
                story.part(0, OK);
            })
        },
        &[2, 3],
    ),
    (
        "can-retry",
        || {
            opened(SERVER, |story| {
                (0..3).for_each(|index| _ = story.part(index, OK));
                story.finish(NO);
                story.finish(FINISHED);
            })
        },
        &[5, 6],
    ),
    (
        "failed-part-again",
        || {
            opened(SERVER, |story| {
                story.part(0, OK).unanswered(End::Reset);
                story.part(1, OK);
                story.part(2, OK);
                story.finish(NO);
            })
        },
        &[2, 5],
    ),
    (
        "failed-part-again",
        || {
            opened(UGC, |story| {
                story.part(0, OK).struck("truncate-reply", true);
                story.part(1, OK);
                story.part(2, OK);
                story.finish(NO);
            })
        },
        &[2, 5],
    ),
    (
        "error-not-success",
        || {
            opened(SERVER, |story| {
                story.part(0, BUSY);
                story.part(1, OK);
                story.part(2, OK);
                story.finish(NO);
            })
        },
        &[2, 5],
    ),
    (
        "error-not-success",
        || {
            opened(UGC, |story| {
                story.part(0, "injected 500").status(500);
                story.part(1, OK);
                story.part(2, OK);
                story.finish(NO);
            })
        },
        &[2, 5],
    ),
    (
        "error-not-success",
        || {
            opened(SERVER, |story| {
                story.part(0, OK);
                story.part(1, FORBIDDEN);
                story.part(2, OK);
                story.finish(NO);
            })
        },
        &[3, 5],
    ),
    (
        "error-not-success",
        || {
            story(SERVER, |story| {
                story.open(BUSY);
                story.part(0, FORGOTTEN);
                story.part(1, FORGOTTEN);
            })
        },
        &[1, 2],
    ),
    (
        "error-not-success",
        || {
            story(LEGACY, |story| {
                story.next(0, &refused(6000));
                story.next(1, &goes_on(0));
            })
        },
        &[1, 2],
    ),
    (
        "acknowledged-part-once",
        || {
            opened(SERVER, |story| {
                story.part(0, OK);
                story.part(0, OK);
            })
        },
        &[2, 3],
    ),
    (
        "acknowledged-part-once",
        || {
            story(LEGACY, |story| {
                story.next(0, &goes_on(PART));
                story.next(1, &goes_on(2 * PART));
                story.next(1, &goes_on(2 * PART));
            })
        },
        &[2, 3],
    ),
    ("listed-part-skipped", || resumed(SERVER, |story| _ = story.part(1, OK)), &[5, 6]),
    (
        "listed-part-skipped",
        || {
            resumed(UGC, |story| {
                story.part(0, OK);
                story.part(1, OK);
            })
        },
        &[5, 6, 7],
    ),
    (
        "returned-part-size",
        || {
            story(SERVER, |story| {
                story.open_in(2 * PART, &resume(PART, &[]));
                story.part_at(PartSpan { offset: 0, len: 2 * PART }, Story::md5(0), NO);
            })
        },
        &[1, 2],
    ),
    (
        "retry-gap",
        || {
            opened(SERVER, |story| {
                story.part(0, BUSY);
                story.part(0, OK);
                story.after(24);
            })
        },
        &[2, 3],
    ),
    (
        "retry-gap",
        || {
            opened(UGC, |story| {
                story.part(0, OK).unanswered(End::Closed);
                story.part(0, OK);
                story.after(1);
            })
        },
        &[2, 3],
    ),
    (
        "retry-gap",
        || {
            story(SERVER, |story| {
                story.open("injected 503").status(503);
                story.open(&fresh());
                story.after(0);
            })
        },
        &[1, 2],
    ),
    (
        "retry-gap",
        || {
            story(LEGACY, |story| {
                story.next(0, &goes_on(PART));
                story.next(1, &goes_on(PART)).unanswered(End::Reset);
                story.next(1, &goes_on(2 * PART));
                story.after(10);
            })
        },
        &[2, 3],
    ),
    (
        "retry-gap",
        || {
            opened(SERVER, |story| {
                let busy = story.part(0, BUSY).status(503);
                busy.reply.as_mut().unwrap().headers.push(("retry-after".to_owned(), "1".to_owned()));
                story.part(0, OK);
                story.after(900);
            })
        },
        &[2, 3],
    ),
    (
        "one-signature",
        || {
            opened(UGC, |story| {
                story.part(0, OK);
                story.sign_anew();
                story.part(1, OK);
                story.part(2, OK);
            })
        },
        &[1, 3],
    ),
];

#[test]
fn every_breach_is_found_and_nothing_else() {
    for (at, (rule, story, proof)) in BREACHES.iter().enumerate() {
        let mut findings = story().findings();
        if *rule == "cover-prefix" {
            // The names without their prefix are unknown ones too.
            findings.retain(|finding| finding.rule.id != "known-parameters");
        }
        let found: Vec<_> = findings.iter().map(|finding| (finding.rule.id, &finding.exchanges[..])).collect();
        assert_eq!(found, [(*rule, *proof)], "breach {at}\n{}", to_lines(&findings));
    }
}

#[test]
fn every_rule_has_a_breach() {
    let broken: BTreeSet<_> = BREACHES.iter().map(|(rule, ..)| *rule).collect();
    let unbroken: Vec<_> = rules::ALL.iter().map(|rule| rule.id).filter(|id| !broken.contains(id)).collect();
    assert!(unbroken.is_empty(), "no story breaks {unbroken:?}");
}

#[test]
fn an_upload_as_the_documents_ask_for_has_no_finding() {
    for family in Family::ALL {
        silent(&Story::whole(family));
    }
    let mut story = Story::of(SERVER);
    story.exchanges.push(small_file());
    silent(&story);
}

#[test]
fn everything_that_may_be_done_after_a_failure_has_no_finding() {
    for family in [SERVER, UGC] {
        silent(&story(family, |story| {
            story.open(BUSY);
            story.open(&fresh());
            story.part(0, OK).unanswered(End::Reset);
            story.part(1, BUSY);
            story.part(1, "").unanswered(End::ClientGone { after: 5 });
            story.part(2, OK).struck("reply", true);
            story.part(0, OK);
            story.part(1, OK);
            story.part(2, OK);
            story.finish(BUSY);
            story.finish(FINISHED).unanswered(End::Reset);
            story.open(&exists());
            story.finish(FINISHED);
        }));
    }
}

#[test]
fn a_process_that_is_started_again_sends_what_the_list_lacks() {
    for family in [SERVER, UGC] {
        silent(&resumed(family, |story| {
            story.part(2, OK);
            story.finish(FINISHED);
        }));
        // The server lost what it had acknowledged, and says so.
        silent(&opened(family, |story| {
            story.part(0, OK);
            story.part(1, FORGOTTEN);
            story.open(&fresh());
            story.part(0, OK);
        }));
        // A list that names other bytes, or a garbled digest, is not to be trusted.
        for list in [
            resume(PART, &[0]).replace(&Story::md5(0).to_string(), &Story::md5(9).to_string()),
            resume(PART, &[0]).replace("dataMd5", "dataMd"),
        ] {
            silent(&opened(family, |story| {
                story.part(0, OK);
                story.open(&list);
                story.part(0, OK);
            }));
        }
    }
}

#[test]
fn a_refused_finish_may_be_asked_about_and_sent_again() {
    for list in [&resume(PART, &[0, 2]), &resume(PART, &[0, 1, 2])] {
        let mut told = opened(SERVER, |story| {
            (0..3).for_each(|index| _ = story.part(index, OK));
            story.finish(NO);
            story.open(list);
        });
        if !list.contains(&format!("\"offset\":{PART}}}")) {
            told.part(1, OK);
        }
        told.finish(FINISHED);
        silent(&told);
    }
    // Without asking, a part that the refusal made doubtful may come again; the finish may not.
    check(
        &opened(UGC, |story| {
            (0..3).for_each(|index| _ = story.part(index, OK));
            story.finish(NO);
            story.part(1, OK);
            story.finish(FINISHED);
        }),
        &[("can-retry", &[5, 7])],
    );
}

#[test]
fn what_is_under_way_when_an_answer_comes_is_not_accused() {
    // The final answer is still on its way when the same request is sent again.
    silent(&opened(SERVER, |story| {
        story.part(0, NO).took(150);
        story.part(0, NO);
    }));
    silent(&opened(SERVER, |story| {
        story.part(0, OK).took(150);
        story.part(0, OK);
    }));
    // A reply that is over within the clocks' grain of the next request may have been known.
    silent(&story(SERVER, |story| {
        story.open(&fresh()).took(10);
        story.part(0, OK);
        story.last().start = story.exchanges[0].start + jiff::SignedDuration::from_millis(9);
    }));
    // At one time on a simulated clock, an exchange that takes no time is over before the next one is sent.
    silent(&whole(SERVER, |story| {
        let start = story.exchanges[0].start;
        for exchange in &mut story.exchanges {
            (exchange.start, exchange.times) = (start, crate::exchange::Times::default());
        }
    }));
}

#[test]
fn two_clients_on_one_upload_are_not_accused_of_what_the_other_did() {
    // Both open, both send every part, both finish.
    for family in [SERVER, UGC] {
        let mut two = Story::of(family);
        two.open(&fresh());
        two.sign_anew();
        two.open(&fresh());
        for index in 0..3 {
            two.part(index, OK);
            two.part(index, OK);
        }
        two.finish(FINISHED);
        two.finish(FINISHED);
        silent(&two);
        // One client more than was let in is one too many.
        two.part(0, OK);
        check(&two, &[("acknowledged-part-once", &[4, 11])]);
    }
    // One is refused, and the other comes right after it; or is refused like the first.
    silent(&opened(SERVER, |story| {
        story.open(&fresh());
        story.part(0, BUSY);
        story.part(0, NO);
        story.after(3);
        story.part(0, NO);
    }));
    // One is told that the file is there, while the other still sends it and finishes.
    silent(&opened(UGC, |story| {
        story.part(0, OK);
        story.open(&exists());
        story.finish(FINISHED);
        story.part(1, OK);
    }));
    // The server forgot the upload between them, and the second cuts the file into other parts.
    silent(&story(SERVER, |story| {
        story.open_in(2 * PART, &fresh());
        story.part_at(PartSpan { offset: 0, len: 2 * PART }, Md5::of(b"two"), OK);
        story.part(2, OK);
        story.open(&fresh());
        story.finish(NO);
    }));
    // One finishes while the other still sends.
    silent(&opened(SERVER, |story| {
        story.open(&fresh());
        (0..3).for_each(|index| _ = story.part(index, OK));
        story.finish(FINISHED);
        story.part(1, OK);
    }));
    silent(&story(LEGACY, |story| {
        story.next(0, &goes_on(PART));
        story.next(0, &goes_on(PART));
        story.next(1, &goes_on(2 * PART));
        story.next(1, &goes_on(2 * PART));
        story.next(2, &stored());
        story.next(2, &stored());
    }));
}

#[test]
fn waits_are_told_apart() {
    let retry = |end: Option<End>, millis| {
        opened(SERVER, |story| {
            let failed = story.part(0, BUSY);
            if let Some(end) = end {
                failed.unanswered(end);
            }
            story.part(0, OK);
            story.after(millis);
        })
    };
    silent(&retry(None, 25));
    check(&retry(None, 24), &[("retry-gap", &[2, 3])]);
    // What the client or a kill ended, the server did not.
    for end in [End::ClientGone { after: 3 }, End::Killed, End::Timeout] {
        silent(&retry(Some(end), 1));
    }
    // A process that was started again begins at once, also where an earlier one had tried often enough.
    silent(&story(SERVER, |story| {
        story.open(BUSY);
        story.open(BUSY);
        story.open(&fresh());
        story.after(0);
    }));
    // Nor does it know what Retry-After an earlier one was given.
    silent(&story(SERVER, |story| {
        let busy = story.open(BUSY);
        busy.reply.as_mut().unwrap().headers.push(("retry-after".to_owned(), "9".to_owned()));
        story.open(&fresh());
    }));
}

#[test]
fn another_request_than_the_refused_one_is_not_that_request_again() {
    // The name was put right.
    silent(&story(SERVER, |story| {
        story.open(NO);
        story.open(NO);
        story.open(&fresh()).edit("fileName=test", "fileName=better");
    }));
    // An upload that was refused is begun once more, as by a process that was started again.
    silent(&story(SERVER, |story| {
        story.open(NO);
        story.open(NO);
    }));
    // The signature had expired, and a new one was made.
    silent(&opened(UGC, |story| {
        story.part(0, NO);
        story.sign_anew();
        story.open(&fresh());
        story.part(0, OK);
    }));
    // The clock, or the key, was put right: only what is refused the same way again was not.
    for (family, no) in [(SERVER, UNSIGNED.to_owned()), (LEGACY, refused(-26498)), (LEGACY, refused(10004))] {
        let again = |struck: bool, reply: &str| {
            story(family, |story| {
                let part = |story: &mut Story, reply: &str| match family {
                    LEGACY => _ = story.next(1, reply),
                    _ => _ = story.part(1, reply),
                };
                match family {
                    LEGACY => _ = story.next(0, &goes_on(PART)),
                    _ => _ = story.open(&fresh()),
                }
                part(story, &no);
                if struck {
                    story.last().struck("reply", true);
                }
                part(story, reply);
            })
        };
        let ok = if family == LEGACY { goes_on(2 * PART) } else { OK.to_owned() };
        let rule = if family == LEGACY { "nothing-after-final" } else { "can-retry" };
        silent(&again(false, &ok));
        check(&again(false, &no), &[(rule, &[2, 3])]);
        // What a fault made up can be put right by nobody.
        check(&again(true, &ok), &[(rule, &[2, 3])]);
    }
    // A refusal in a failure of HTTP may pass.
    silent(&opened(SERVER, |story| {
        story.part(0, NO).status(500);
        story.part(0, OK);
    }));
    // A final answer that never arrived told nothing.
    silent(&opened(SERVER, |story| {
        story.part(0, NO).end = End::Reset;
        story.part(0, OK);
    }));
}

#[test]
fn a_list_that_begins_in_the_middle_accuses_nobody_of_what_came_before() {
    for family in Family::ALL {
        for skip in 1..5 {
            let mut cut = Story::whole(family);
            cut.exchanges.drain(..skip.min(cut.exchanges.len()));
            silent(&cut);
        }
    }
    // With the beginning it is a breach: see the table.
    let mut cut = story(SERVER, |story| {
        story.open(&fresh());
        story.part(0, FORGOTTEN);
        story.part(0, OK);
    });
    cut.exchanges.remove(0);
    silent(&cut);
    let mut cut = story(UGC, |story| {
        story.open(&resume(PART, &[0]));
        story.finish(FINISHED);
    });
    cut.exchanges.iter_mut().for_each(|exchange| (exchange.seq, exchange.attempt) = (exchange.seq + 7, 3));
    silent(&cut);
    // An upload that begins behind the cut, as its first request says, is judged like any other.
    let mut later = story(SERVER, |story| {
        story.open(&fresh());
        story.part(0, NO);
        story.part(0, OK);
    });
    later.exchanges.iter_mut().for_each(|exchange| exchange.seq += 7);
    check(&later, &[("can-retry", &[9, 10])]);
    later.exchanges[0].attempt = 2;
    silent(&later);
}

#[test]
fn a_server_that_was_started_again_with_a_new_journal_knows_less_than_its_clients() {
    // Its memory was kept: parts are taken though nobody opened the upload.
    silent(&story(SERVER, |story| {
        story.part(1, OK);
        story.part(2, OK);
        story.finish(FINISHED);
    }));
    silent(&story(LEGACY, |story| {
        story.next(1, &goes_on(2 * PART));
        story.next(2, &stored());
    }));
    // It was kept, and lost later.
    silent(&story(SERVER, |story| {
        story.part(1, OK);
        story.part(2, FORGOTTEN);
    }));
    // Nobody can tell from this answer.
    silent(&story(SERVER, |story| _ = story.part(1, BUSY)));
    // Its memory was lost: the client is told so, and opens the upload anew.
    silent(&story(UGC, |story| {
        story.part(1, FORGOTTEN);
        story.part(1, FORGOTTEN);
        story.open(&fresh());
        (0..3).for_each(|index| _ = story.part(index, OK));
        story.finish(FINISHED);
    }));
    silent(&story(LEGACY, |story| {
        story.next(1, &goes_on(0));
        story.next(0, &goes_on(PART));
        story.next(1, &goes_on(2 * PART));
    }));
}

#[test]
fn a_server_that_was_killed_and_started_again_goes_on_with_its_journal() {
    // It died before it wrote its last line: the part was there when the file was put together.
    silent(&whole(SERVER, |story| story.lose(4)));
    check(
        &whole(SERVER, |story| {
            story.last().reply.as_mut().unwrap().body = NO.to_owned();
            story.lose(4);
        }),
        &[("finish-after-parts", &[4])],
    );
    silent(&whole(LEGACY, |story| story.lose(2)));
    // It was sent, and its client went on without an answer.
    check(&whole(LEGACY, |story| _ = story.exchanges[1].unanswered(End::Reset)), &[("dictated-offset", &[1, 3])]);
    // The same secrets have other placeholders.
    silent(&opened(UGC, |story| {
        story.part(0, OK);
        story.redact_anew();
        story.part(1, OK);
        story.part(2, OK);
        story.finish(FINISHED);
    }));
}

#[test]
fn a_finish_goes_by_what_the_client_was_told() {
    // A yes that a fault made up, and a part that the server dropped.
    silent(&opened(SERVER, |story| {
        story.part(0, OK).struck("reply", true);
        story.part(1, OK).struck("drop-part", false);
        story.part(2, OK);
        story.finish(NO);
    }));
    // Parts that the list has need not be sent; code 2 needs none at all.
    silent(&resumed(UGC, |story| {
        story.part(2, OK);
        story.finish(FINISHED);
    }));
    silent(&story(SERVER, |story| {
        story.open(&exists());
        story.finish(FINISHED);
    }));
    // A finish that may have been done is repeated.
    silent(&whole(UGC, |story| {
        story.last().unanswered(End::Reset);
        story.finish(FINISHED);
    }));
    // The same missing part is told once.
    check(
        &opened(SERVER, |story| {
            story.part(0, OK);
            story.part(1, OK);
            story.finish(NO);
            story.open(&resume(PART, &[0, 1]));
            story.finish(NO);
        }),
        &[("finish-after-parts", &[4])],
    );
}

#[test]
fn a_browsers_question_and_a_request_for_another_page_are_no_requests_of_the_protocol() {
    silent(&whole(SERVER, |story| {
        let mut preflight = story.exchanges[1].clone();
        preflight.request.method = "OPTIONS".to_owned();
        (preflight.seq, preflight.start) = (6, story.exchanges[4].start + jiff::SignedDuration::from_secs(1));
        let mut icon = story.exchanges[0].clone();
        (icon.seq, icon.action, icon.file_sha1) = (7, None, None);
        icon.request.target = "/favicon.ico".to_owned();
        story.exchanges.extend([preflight, icon]);
    }));
}

#[test]
fn the_same_deviation_of_many_requests_is_one_finding_an_upload() {
    let mut story = Story::whole(SERVER);
    for exchange in &mut story.exchanges {
        exchange.edit("/v2/", "/v3/");
    }
    let mut other = story.exchanges[1].clone();
    (other.seq, other.account) = (6, Some("other".to_owned()));
    story.exchanges.push(other);
    check(
        &story,
        &[
            ("documented-path", &[1]),
            ("documented-path", &[2, 3, 4]),
            ("documented-path", &[5]),
            ("documented-path", &[6]),
        ],
    );
}

#[test]
fn a_body_that_was_not_read_to_its_end_proves_nothing() {
    silent(&whole(SERVER, |story| {
        let body = &mut story.exchanges[1].request.body;
        (body.len, body.sha1, body.md5) = (8 << 20, None, None);
    }));
    silent(&whole(SERVER, |story| {
        let part = &mut story.exchanges[1];
        (part.request.body, part.times.body_done) = (crate::exchange::Mark::default(), None);
        story.exchanges.truncate(2);
    }));
}

#[test]
fn uploads_are_judged_apart() {
    let mut story = Story::whole(SERVER);
    let mut more = Story::whole(SERVER).exchanges;
    for exchange in &mut more {
        exchange.seq += 5;
        exchange.account = Some("other".to_owned());
    }
    story.exchanges.append(&mut more);
    silent(&story);
    // The older generation's upload of the same file is another.
    let mut more = Story::whole(LEGACY).exchanges;
    for exchange in &mut more {
        exchange.seq += 10;
    }
    story.exchanges.append(&mut more);
    silent(&story);
}

#[test]
fn a_finding_is_shown_with_its_rule() {
    let findings = BREACHES.iter().find(|(rule, ..)| *rule == "retry-gap").unwrap().1().findings();
    expect_test::expect![[r#"
        {"rule":"retry-gap","severity":"warning","says":"A request that the server ended is sent again after at least 25 ms, and no sooner than Retry-After says.","source":"assumed: half of the shortest delay of a client that spreads its retries; RFC 9110, Retry-After","found":"UploadPart 0+524288 (request 3) came 24 ms after UploadPart 0+524288 (request 2) had failed, 25 ms is the least","exchanges":[2,3],"account":"demo","file-sha1":"01b604e4452a9b30f93dbcd9bea19e3ca916a4d9"}
    "#]]
    .assert_eq(&to_lines(&findings));
}

fn any_exchange() -> impl proptest::strategy::Strategy<Value = Exchange> {
    use proptest::{prelude::*, sample::select};
    let actions = [
        "InitUpload",
        "UploadPart",
        "FinishUpload",
        "InitUploadEx",
        "UploadPartEx",
        "MultipartUploadVodFile",
        "SmallFileUpload",
        "Report",
        "nothing",
    ];
    let replies = [
        fresh(),
        exists(),
        resume(PART, &[0, 1]),
        resume(1, &[]),
        goes_on(PART),
        stored(),
        refused(6000),
        OK.to_owned(),
        BUSY.to_owned(),
        NO.to_owned(),
        FORGOTTEN.to_owned(),
        "{}".to_owned(),
        String::new(),
    ];
    let ends = [End::Replied, End::Reset, End::Closed, End::Timeout, End::Killed, End::ClientGone { after: 1 }];
    let query = "(fileSize|dataSize|offset|dataMd5|signature)=([0-9]{1,20}|\\PC{0,9})";
    let what =
        (select(actions.to_vec()), select(replies.to_vec()), select(ends.to_vec()), proptest::option::of(0..3_u64));
    let when = (any::<u64>(), 0..9_i64, any::<Option<u64>>(), any::<Option<u64>>());
    (what, when, proptest::collection::vec(query, 0..5), any::<bool>(), 1..12_u64).prop_map(
        |((action, reply, end, part), (_, start, body_done, reply_done), query, faulty, seq)| {
            let mut exchange = Story::whole(SERVER).exchanges.swap_remove(1);
            exchange.seq = seq;
            exchange.action = Some(action.to_owned());
            exchange.part = part.map(|index| PartSpan { offset: index.wrapping_mul(PART), len: index.wrapping_sub(1) });
            exchange.request.target = format!("/v2/index.php?Action={action}&{}", query.join("&"));
            exchange.start = jiff::Timestamp::from_second(start * 1_000).unwrap();
            (exchange.times.body_done, exchange.times.reply_done, exchange.end) = (body_done, reply_done, end);
            exchange.reply.as_mut().unwrap().body = reply;
            if faulty {
                exchange.struck("garbage-reply", true);
            }
            exchange
        },
    )
}

proptest::proptest! {
    #[test]
    fn no_list_of_exchanges_panics_and_their_order_does_not_matter(
        mut exchanges in proptest::collection::vec(any_exchange(), 0..14),
    ) {
        let findings = lint(&exchanges, &Lacking::nothing(), &Limits::default());
        for finding in &findings.findings {
            proptest::prop_assert!(finding.exchanges.is_sorted() && !finding.exchanges.is_empty());
        }
        exchanges.sort_by_key(|exchange| std::cmp::Reverse(exchange.seq));
        exchanges.dedup_by_key(|exchange| exchange.seq);
        let findings = lint(&exchanges, &Lacking::nothing(), &Limits::default());
        exchanges.reverse();
        proptest::prop_assert_eq!(findings, lint(&exchanges, &Lacking::nothing(), &Limits::default()));
    }
}
