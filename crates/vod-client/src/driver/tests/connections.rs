//! Connections that uploads have in common: how few they are, and what befalls them between two uploads and within one.

use tokio::runtime::{Builder, Runtime};

use super::*;

fn uploader(server: &Server) -> Uploader<impl Connect> {
    let credentials = Credentials::new("AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA", SecretKey::new(KEY));
    Uploader::with_connector("http://mock.test".parse().unwrap(), credentials, server.connector()).options(options())
}

/// A file of one small part: three requests.
async fn small<C: Connect>(uploader: &Uploader<C>, n: u32) -> UploadReport {
    let facts = FileFacts::from_path("small.mp4".as_ref());
    let report = uploader.upload(BytesSource::new(n.to_be_bytes().to_vec()), facts).await.unwrap();
    assert_eq!(report.outcome, Outcome::Finished, "file {n}");
    report
}

#[tokio::test(start_paused = true)]
async fn a_thousand_small_files_eight_at_once_open_hardly_more_than_eight_connections() {
    let server = Server::default();
    let shared = uploader(&server);
    let attempts = futures_util::stream::iter(0..1000)
        .map(|n| {
            let uploader = shared.clone().seed(n.into());
            async move { small(&uploader, n).await.attempts }
        })
        .buffer_unordered(8)
        .fold(0, |sum, attempts| std::future::ready(sum + attempts));
    assert_eq!((attempts.await, server.lines().len()), (3000, 3000));
    // A request may come before the connection of the last is known to be free again.
    let opened = server.opened();
    assert!((8..=16).contains(&opened), "{opened} connections were opened");
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_that_the_server_has_closed_costs_no_attempt() {
    let server = Server::default();
    let uploader = uploader(&server);
    small(&uploader, 0).await;
    for n in 1..=3 {
        let before = server.opened();
        // Nobody looks before the next request is on its way to one of them.
        server.leave_all();
        let report = small(&uploader, n).await;
        assert_eq!((report.attempts, report.parts_sent), (3, 1), "after {n} closings");
        assert!(server.opened() > before, "the old ones are of no use");
    }
    assert_eq!(server.lines().len(), 12, "nothing was sent twice");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_is_dropped_leaves_the_others_their_connections_and_nothing_half_sent() {
    let server = Server::default().on(Action::UploadPart, [Act::Hang]);
    let uploader = uploader(&server);
    let facts = FileFacts::from_path("long.mp4".as_ref());
    let whole = uploader.upload(BytesSource::new(bytes()), facts.clone());
    // One part hangs, and the upload with it, long before it is given up.
    let dropped = tokio::time::timeout(Duration::from_secs(5), whole).await;
    assert!(dropped.is_err(), "{dropped:?}");
    // The server holds every body against what was announced.
    small(&uploader, 1).await;
    let resumed = uploader.upload(BytesSource::new(bytes()), facts).await.unwrap();
    assert_eq!((resumed.outcome, resumed.parts_sent), (Outcome::Finished, 3));
}

#[test]
fn a_connection_is_used_in_the_runtime_alone_that_it_was_opened_in() {
    let runtime = || -> Runtime { Builder::new_current_thread().enable_all().start_paused(true).build().unwrap() };
    let (server, [one, other]) = (Server::default(), [runtime(), runtime()]);
    let uploader = uploader(&server);
    // The first one stands still while the other runs, and with it all that was opened in it.
    for runtime in [&one, &other, &one] {
        let report = runtime.block_on(small(&uploader, 1));
        assert_eq!((report.attempts, report.elapsed.as_secs()), (3, 0));
    }
}
