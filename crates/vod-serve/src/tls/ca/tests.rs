//! The CA as its directory and its clients see it.

use std::sync::Barrier;

use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, ServerConnection,
    pki_types::{ServerName, UnixTime},
    time_provider::TimeProvider,
};

use super::*;

/// 2026-03-01T12:00:00Z.
const NOW: i64 = 1_772_366_400;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// A client's clock.
#[derive(Debug)]
struct At(u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// A client that trusts `pem`, at a time of its own, and offers some protocols.
fn client(pem: &str, now: i64, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    let clock = Arc::new(At(u64::try_from(now).unwrap()));
    let config = ClientConfig::builder_with_details(Arc::new(ring::default_provider()), clock);
    let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// What comes of a handshake: the protocol that was agreed on, or what the client, or else the server, finds wrong.
fn shake(leaf: &Leaf, client: Arc<ClientConfig>, name: &str) -> Result<Option<String>, Error> {
    let mut client = ClientConnection::new(client, ServerName::try_from(name.to_owned()).unwrap()).unwrap();
    let mut server = ServerConnection::new(leaf.config()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        let served = server.process_new_packets().map(drop);
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
        served?;
    }
    Ok(client.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()))
}

fn names(names: &[&str]) -> Vec<HostName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn a_leaf_is_good_for_its_names_and_no_other() {
    let ca = Ca::make(at(NOW));
    let leaf = ca.leaf(&names(&["vod2.qcloud.com", "127.0.0.1", "::1", "localhost"]), at(NOW));
    let client = client(ca.pem(), NOW, &[]);
    for name in ["vod2.qcloud.com", "127.0.0.1", "::1", "localhost"] {
        assert_eq!(shake(&leaf, Arc::clone(&client), name), Ok(None), "{name}");
    }
    for name in ["vod.qcloud.com", "a.vod2.qcloud.com", "127.0.0.2"] {
        let refused = shake(&leaf, Arc::clone(&client), name);
        let Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })) = refused else {
            panic!("{name}: {refused:?}");
        };
    }
}

#[test]
fn whoever_trusts_another_ca_refuses_the_leaf() {
    let leaf = Ca::make(at(NOW)).leaf(&names(&["localhost"]), at(NOW));
    let refused = shake(&leaf, client(Ca::make(at(NOW)).pem(), NOW, &[]), "localhost");
    assert_eq!(refused, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
}

#[test]
fn a_leaf_holds_from_a_day_back_and_for_less_than_browsers_allow() {
    const DAY: i64 = 86_400;
    let ca = Ca::make(at(NOW));
    let leaf = ca.leaf(&names(&["localhost"]), at(NOW));
    let shaken = |now| shake(&leaf, client(ca.pem(), now, &[]), "localhost");
    for good in [NOW - DAY, NOW, NOW + 396 * DAY - 1] {
        assert_eq!(shaken(good), Ok(None), "at {good}");
    }
    for (early, late) in [(true, NOW - DAY - 1), (false, NOW + 396 * DAY)] {
        let refused = shaken(late);
        assert!(
            matches!(refused, Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { .. })) if early)
                || matches!(refused, Err(Error::InvalidCertificate(CertificateError::ExpiredContext { .. })) if !early),
            "at {late}: {refused:?}"
        );
    }
}

#[test]
fn the_ca_holds_for_ten_years() {
    let ca = Ca::make(at(NOW));
    let der = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    // Dates stand in a certificate as ASCII. No client of ours judges a CA's, but others do.
    for date in ["260228120000Z", "360226115959Z"] {
        assert!(der.windows(date.len()).any(|bytes| bytes == date.as_bytes()), "{date} is not in {:?}", ca.pem());
    }
}

#[test]
fn nothing_but_http_1_1_is_offered() {
    let ca = Ca::make(at(NOW));
    let leaf = ca.leaf(&names(&["localhost"]), at(NOW));
    let shaken = |alpn: &[&str]| shake(&leaf, client(ca.pem(), NOW, alpn), "localhost");
    assert_eq!(shaken(&["h2", "http/1.1"]), Ok(Some("http/1.1".to_owned())));
    assert_eq!(shaken(&["h2"]), Err(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_start_finds_the_same_ca_and_its_key_is_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("made/if/need/be");
    let first = Ca::open(&dir, at(NOW)).unwrap();
    let again = Ca::open(&dir, at(NOW + 1_000_000)).unwrap();
    assert_eq!(again.pem(), first.pem());
    assert_eq!(fs::read_to_string(dir.join("ca.pem")).unwrap(), first.pem());
    assert_eq!(mode(&dir.join("ca-key.pem")), 0o600);
    let mut left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["ca-key.pem", "ca.pem"]);
    assert!(!first.pem().contains("PRIVATE"), "{}", first.pem());
    // The key is the same too: what the second gives out is good for those who trusted the first.
    let leaf = again.leaf(&names(&["localhost"]), at(NOW));
    assert_eq!(shake(&leaf, client(first.pem(), NOW, &[]), "localhost"), Ok(None));
}

#[test]
fn starts_at_once_have_one_ca() {
    for _ in 0..100 {
        let dir = tempfile::tempdir().unwrap();
        let all_there = Barrier::new(8);
        let open = || {
            all_there.wait();
            Ca::open(dir.path(), at(NOW)).unwrap()
        };
        let all: Vec<Ca> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let kept = fs::read_to_string(dir.path().join("ca.pem")).unwrap();
        for ca in all {
            assert_eq!(ca.pem(), kept);
            let leaf = ca.leaf(&names(&["localhost"]), at(NOW));
            assert_eq!(shake(&leaf, client(&kept, NOW, &[]), "localhost"), Ok(None));
        }
    }
}

#[test]
fn whoever_was_killed_between_the_two_files_is_made_up_for() {
    let dir = tempfile::tempdir().unwrap();
    let first = Ca::open(dir.path(), at(NOW)).unwrap();
    fs::remove_file(dir.path().join("ca.pem")).unwrap();
    let second = Ca::open(dir.path(), at(NOW + 1)).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("ca.pem")).unwrap(), second.pem());
    // Whoever trusted the one that is gone need not know: it is the same authority.
    let leaf = second.leaf(&names(&["localhost"]), at(NOW));
    assert_eq!(shake(&leaf, client(first.pem(), NOW, &[]), "localhost"), Ok(None));
}

/// What is said of a CA's directory after something was done to it.
fn said(spoil: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    drop(Ca::open(dir.path(), at(NOW)).unwrap());
    spoil(dir.path());
    let before = fs::read(dir.path().join("ca.pem")).ok();
    let said = Ca::open(dir.path(), at(NOW)).err().expect("it cannot be used").to_string();
    assert_eq!(fs::read(dir.path().join("ca.pem")).ok(), before, "it was changed");
    said.replace(dir.path().to_str().unwrap(), "DIR")
}

#[test]
fn what_cannot_be_used_is_named_with_its_cure() {
    use expect_test::expect;
    let write = |name: &'static str, text: &'static [u8]| move |dir: &Path| fs::write(dir.join(name), text).unwrap();
    let readable = |dir: &Path| fs::set_permissions(dir.join("ca-key.pem"), Permissions::from_mode(0o640)).unwrap();
    expect!["the CA's key DIR/ca-key.pem can be read by others (its mode is 640): take that away (chmod 600), or remove it and its certificate for a new CA if somebody may have"].assert_eq(&said(readable));
    let damaged = expect![
        "the CA's DIR/ca-key.pem is damaged: expected a private key in PEM; restore it, or remove it and its pair for a new CA"
    ];
    damaged.assert_eq(&said(write("ca-key.pem", b"")));
    damaged.assert_eq(&said(write("ca-key.pem", b"\xff\xfe")));
    damaged.assert_eq(&said(|dir| {
        let text = fs::read_to_string(dir.join("ca-key.pem")).unwrap();
        fs::write(dir.join("ca-key.pem"), &text[..text.len() / 2]).unwrap();
    }));
    let damaged = expect![
        "the CA's DIR/ca.pem is damaged: expected a certificate in PEM; restore it, or remove it and its pair for a new CA"
    ];
    damaged.assert_eq(&said(write("ca.pem", b"nothing")));
    damaged.assert_eq(&said(write("ca.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")));
    expect![
        "the CA's key DIR/ca-key.pem is missing, and its certificate is there: restore it, or remove that for a new CA"
    ]
    .assert_eq(&said(|dir| fs::remove_file(dir.join("ca-key.pem")).unwrap()));
    let unpaired = expect![
        "the CA's DIR/ca.pem and DIR/ca-key.pem do not belong together, or are not this program's: restore the right one, or remove both for a new CA"
    ];
    unpaired.assert_eq(&said(|dir| fs::write(dir.join("ca.pem"), Ca::make(at(NOW)).pem()).unwrap()));
    // The right key under a name that this program would not give: what it signs would lead to nobody.
    unpaired.assert_eq(&said(|dir| {
        let key = read_key(&dir.join("ca-key.pem")).unwrap().unwrap();
        let mut params = ca_params(&key, at(NOW));
        params.distinguished_name = subject("somebody's own".to_owned());
        fs::write(dir.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    }));
    expect!["the CA's DIR/ca.pem cannot be used: Is a directory (os error 21)"].assert_eq(&said(|dir| {
        fs::remove_file(dir.join("ca.pem")).unwrap();
        fs::create_dir(dir.join("ca.pem")).unwrap();
    }));
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Ca::open(&file.path().join("below"), at(NOW)).err().expect("it is below a file").to_string();
    assert!(error.contains(file.path().to_str().unwrap()) && error.contains("Not a directory"), "{error}");
}
