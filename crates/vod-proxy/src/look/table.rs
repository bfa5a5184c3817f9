//! What became of each upload, one line each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use vod_proto::{Action, Exchange, Family, Sha1, Size, action::Role, timeline::came_of};

/// How many digits of a file's SHA-1 name its upload: as in a timeline.
const DIGITS: usize = 7;

/// One upload, as its exchanges tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadLine {
    /// Whose it is: the placeholder of a SecretId, or an account's name.
    pub account: Option<String>,
    /// Of which file; none for requests that name none.
    pub file_sha1: Option<Sha1>,
    /// Of which family, where an action says so.
    pub family: Option<Family>,
    /// How many exchanges it has.
    pub exchanges: usize,
    /// How many different parts were sent.
    pub parts: usize,
    /// How often parts were sent.
    pub sent: usize,
    /// How many bytes of them came.
    pub bytes: u64,
    /// From the first request to the last answer, in microseconds.
    pub took_us: i64,
    /// What the last request came to, or that the file is stored.
    pub came_of_it: String,
}

/// What became of each upload, in the order in which they began. A file that is sent in two families is two uploads.
#[must_use]
pub fn table(exchanges: &[Exchange]) -> Vec<UploadLine> {
    let mut files = BTreeMap::<_, Vec<&Exchange>>::new();
    for exchange in exchanges {
        files.entry((&exchange.account, exchange.file_sha1)).or_default().push(exchange);
    }
    let mut uploads: Vec<_> = files.into_values().flat_map(by_family).collect();
    uploads.sort_by_key(|upload| upload[0].seq);
    uploads.iter().map(|upload| UploadLine::of(upload)).collect()
}

/// The uploads of one file, each in the order of its exchanges. What belongs to any family, or names none that is known, is of
/// the one that was asked in before it, or else of the first.
fn by_family(mut exchanges: Vec<&Exchange>) -> Vec<Vec<&Exchange>> {
    exchanges.sort_by_key(|exchange| exchange.seq);
    let mut last = exchanges.iter().find_map(|exchange| family(exchange));
    let mut uploads = BTreeMap::<_, Vec<_>>::new();
    for exchange in exchanges {
        last = family(exchange).or(last);
        uploads.entry(last).or_default().push(exchange);
    }
    uploads.into_values().collect()
}

/// A cover and reports belong to any family: what opens, sends and finishes says which it is.
fn family(exchange: &Exchange) -> Option<Family> {
    let action = exchange.known_action().filter(|action| !matches!(action.role(), Role::Report | Role::Whole));
    action.map(Action::family)
}

impl UploadLine {
    fn of(exchanges: &[&Exchange]) -> Self {
        let (first, last) = (exchanges[0], exchanges[exchanges.len() - 1]);
        let of_any = || exchanges.iter().find_map(|exchange| exchange.known_action()).map(Action::family);
        let of_parts = || exchanges.iter().filter_map(|exchange| Some((exchange.part?, exchange.request.body.len)));
        let stored =
            exchanges.iter().rev().find(|exchange| exchange.acknowledged() && exchange.says_stored().is_some());
        let start = exchanges.iter().map(|exchange| exchange.start.as_microsecond()).min().unwrap_or(0);
        let over = exchanges.iter().map(|exchange| exchange.over_us()).max().unwrap_or(0);
        Self {
            account: first.account.clone(),
            file_sha1: first.file_sha1,
            family: exchanges.iter().find_map(|exchange| family(exchange)).or_else(of_any),
            exchanges: exchanges.len(),
            parts: of_parts().map(|(part, _)| part.offset).collect::<BTreeSet<_>>().len(),
            sent: of_parts().count(),
            bytes: of_parts().map(|(_, len)| len).sum(),
            took_us: over - start,
            came_of_it: stored
                .and_then(|exchange| exchange.says_stored())
                .map_or_else(|| came_of(last), |stored| format!("stored as {}", stored.file_id)),
        }
    }

    /// The words above a list of such lines.
    pub const HEADING: &str = "  upload   family  requests  parts   sent       bytes          ms  came of it";
}

impl fmt::Display for UploadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upload = self.file_sha1.map_or_else(|| "-".to_owned(), |sha1| sha1.to_string()[..DIGITS].to_owned());
        let family = self.family.map_or("-", Family::name);
        let bytes = Size::new(self.bytes).to_string();
        let ms = format!("{}.{}", self.took_us / 1000, self.took_us % 1000 / 100);
        let Self { exchanges, parts, sent, came_of_it, .. } = self;
        write!(f, "  {upload:<8} {family:<7} {exchanges:>8} {parts:>6} {sent:>6} {bytes:>11} {ms:>11}  {came_of_it}")
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use vod_proto::timeline::Timeline;

    use super::*;
    use crate::look::crafted::{INIT, exchange, retried};

    #[test]
    fn each_upload_has_a_line_and_each_exchange_a_bar() {
        let mut exchanges = retried();
        let mut lost = exchange(7, "InitUploadEx", None, None);
        lost.file_sha1 = Some(Sha1::of(b"another"));
        exchanges.push(lost);
        let lines: String = table(&exchanges).iter().map(|line| format!("{line}\n")).collect();
        let shown = format!("uploads\n{}\n{lines}\n{}", UploadLine::HEADING, Timeline::of(&exchanges).bars(13));
        expect![[r#"
            uploads
              upload   family  requests  parts   sent       bytes          ms  came of it
              ffbaf58  server         6      3      4        4MiB       550.0  stored as 1500
              b7c8ffb  ugc            1      0      0     0 bytes        50.0  reset

                    ms  request                              try  under way      came of it
                   0.0  ffbaf58 InitUpload                     1  ██···········  code 0
                 100.0  ffbaf58 UploadPart 1 at 0              1  ··██·········  code 0
                 200.0  ffbaf58 UploadPart 2 at 1MiB           1  ····██·······  reset
                 300.0  ffbaf58 UploadPart 3 at 2MiB           1  ······██·····  code 0
                 400.0  ffbaf58 UploadPart 2 at 1MiB           2  ········██···  code 0
                 500.0  ffbaf58 FinishUpload                   1  ··········██·  code 0
                 600.0  b7c8ffb InitUploadEx                   1  ············█  reset
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn what_is_folded_stands_in_its_column() {
        let mut exchanges = crate::look::crafted::plain();
        exchanges.extend((4..=9).map(|number| exchange(5 + number, "UploadPart", Some(number), Some(INIT))));
        let shown = format!("timeline\n{}", Timeline::of(&exchanges).bars(11));
        expect![[r#"
            timeline
                    ms  request                        try  under way    came of it
                   0.0  InitUpload                       1  █··········  code 0
                 100.0  UploadPart 1 at 0                1  ██·········  code 0
                 200.0  UploadPart 2 at 1MiB             1  ·██········  code 0
                 300.0  UploadPart 3 at 2MiB             1  ··█········  code 0
                 400.0  FinishUpload                     1  ···█·······  code 0
                 800.0  … 6 parts acknowledged, 6MiB        ······█████
        "#]]
        .assert_eq(&shown);
    }

    #[test]
    fn a_file_that_is_sent_in_two_families_is_two_uploads_with_parts_of_their_own() {
        // In the legacy family in parts of another size, which has no grid, and then again.
        let next = |seq: u64, offset: u64, len: u64| {
            let mut exchange = exchange(seq, "MultipartUploadVodFile", Some(1), Some(INIT));
            exchange.part = Some(vod_proto::PartSpan { offset, len });
            exchange.request.body.len = len;
            exchange
        };
        let mut exchanges = vec![next(1, 0, 2 << 20), next(2, 2 << 20, 1 << 20)];
        exchanges.extend(crate::look::crafted::plain().into_iter().map(|mut exchange| {
            exchange.seq += 2;
            exchange
        }));
        exchanges.push(exchange(8, "Report", None, Some(INIT)));
        let lines: String = table(&exchanges).iter().map(|line| format!("{line}\n")).collect();
        let timeline = Timeline::of(&exchanges).to_string();
        let parts: String =
            timeline.lines().filter(|line| line.contains(" at ")).map(|line| format!("{line}\n")).collect();
        expect![[r#"
            uploads
              upload   family  requests  parts   sent       bytes          ms  came of it
              ffbaf58  legacy         2      2      2        3MiB       150.0  code 0
              ffbaf58  server         6      3      3        3MiB       750.0  stored as 1500

                   0.0  MultipartUploadVodFile 1 at 0      1  code 0
                 100.0  MultipartUploadVodFile 2 at 2MiB   1  code 0
                 100.0  UploadPart 1 at 0                  1  code 0
                 200.0  UploadPart 2 at 1MiB               1  code 0
                 300.0  UploadPart 3 at 2MiB               1  code 0
        "#]]
        .assert_eq(&format!("uploads\n{}\n{lines}\n{parts}", UploadLine::HEADING));
    }
}
