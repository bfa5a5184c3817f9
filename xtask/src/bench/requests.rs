//! The requests of the load: every one valid and signed, an `InitUpload` or a part with its bytes, and no two the same.

use std::net::SocketAddr;

use vod_proto::{
    Family, FileFacts, InitUpload, Md5, PATH_V2, PartSpan, Query, Request, SIGN_HOST, Sha1, UploadPart,
    sign::{self, SecretKey, SignatureMethod},
};

/// The public half of the documents' example key pair, which the mock's demo account has.
pub(super) const SECRET_ID: &str = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA";

/// The secret half.
pub(super) const SECRET_KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3Cozk1qA";

/// How many requests there are. They are the same number, and so the same work for whoever sends them, whether they
/// ask for few uploads or for one each.
pub(super) const COUNT: usize = 10_000;

/// Renders parts of so many bytes of one upload, in order, as they go on the wire to `addr`. `now` is in seconds since 1970.
pub(super) fn render_parts(addr: SocketAddr, parts: usize, len: usize, now: u64) -> Vec<Vec<u8>> {
    let file_sha1 = Sha1::of(b"file 0");
    let render = |n: usize| {
        let mut body = vec![0; len];
        body.iter_mut().zip(format!("part {n}").bytes()).for_each(|(to, from)| *to = from);
        let span = PartSpan { offset: (n * len) as u64, len: len as u64 };
        let asked = Request::Part(UploadPart { file_sha1, span, part_md5: Md5::of(&body) });
        let query = signed("POST", asked.to_query(Family::Server), n, now);
        let head = format!(
            "POST {PATH_V2}?{query} HTTP/1.1\r\nhost: {addr}\r\nuser-agent: vod-bench\r\ncontent-length: {len}\r\n\r\n"
        );
        [head.into_bytes(), body].concat()
    };
    (0..parts).map(render).collect()
}

/// What every request has beside its own, and its signature.
fn signed(method: &str, mut query: Query, n: usize, now: u64) -> Query {
    query.push("Region", "gz");
    query.push("Timestamp", now);
    query.push("Nonce", 1_000_000 + n);
    query.push("SecretId", SECRET_ID);
    // The host that clients sign for is not the one that they connect to.
    sign::sign_query(&SecretKey::new(SECRET_KEY), SignatureMethod::HmacSha1, method, SIGN_HOST, PATH_V2, &mut query);
    query
}

/// Renders [`COUNT`] requests that ask for so many uploads in turn, as they go on the wire to `addr`.
///
/// Each has its own nonce, and so its own signature. `now` is in seconds since 1970.
pub(super) fn render(addr: SocketAddr, uploads: usize, now: u64) -> Vec<Vec<u8>> {
    let facts = FileFacts { name: "benchmark".to_owned(), file_type: "mp4".to_owned(), ..FileFacts::default() };
    let render = |n: usize| {
        let file_sha1 = Sha1::of(format!("file {}", n % uploads).as_bytes());
        let asked = InitUpload { facts: facts.clone(), file_sha1, file_size: 100 << 20, part_size: 1 << 20 };
        let query = signed("GET", Request::Init(asked).to_query(Family::Server), n, now);
        format!("GET {PATH_V2}?{query} HTTP/1.1\r\nhost: {addr}\r\nuser-agent: vod-bench\r\naccept: */*\r\n\r\n")
            .into_bytes()
    };
    (0..COUNT).map(render).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_requests_are_the_same_and_they_ask_for_so_many_uploads() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 80));
        for uploads in [10, COUNT] {
            let rendered = render(addr, uploads, 1_500_000_000);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let upload = |line: &str| line.split('&').find(|pair| pair.starts_with("fileSha=")).unwrap().to_owned();
            assert_eq!(rendered.iter().collect::<BTreeSet<_>>().len(), COUNT);
            assert_eq!(rendered.iter().map(|bytes| upload(&text(bytes))).collect::<BTreeSet<_>>().len(), uploads);
        }
    }
}
