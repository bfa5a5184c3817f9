//! The CA: made once, kept as two files, and the certificates it gives out.

use std::{
    fs::{self, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, TrustAnchor, pem::PemObject as _},
};

use super::HostName;

/// The certificate that clients trust, in the CA's directory. Anybody may read it.
pub const CERTIFICATE_FILE: &str = "ca.pem";

/// Its key. Whoever has it can pose as any host to those who trust the certificate, so nobody but its owner may read it.
pub const KEY_FILE: &str = "ca-key.pem";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How far back certificates begin to hold. A day: the peer's clock may be behind.
const HELD_SINCE: Duration = DAY;

/// How long the CA holds. Ten years: trusting it is work by hand, on every machine and in every trust store.
const CA_HOLDS: Duration = Duration::from_secs(3650 * DAY.as_secs());

/// How long a leaf holds, the day back included. 397 days: browsers refuse longer ones, and each start makes another.
const LEAF_HOLDS: Duration = Duration::from_secs(397 * DAY.as_secs());

/// A certificate authority of one's own, with its key.
pub struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// What a CA's certificate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaDescription {
    /// Its name, as lists of what is trusted show it: `CN=…`.
    pub subject: String,
    /// The SHA-256 of the certificate, in pairs of hexadecimal digits, as such lists show it.
    pub fingerprint: String,
    /// From when it holds.
    pub from: Timestamp,
    /// To when.
    pub to: Timestamp,
}

/// A CA's directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file or the directory cannot be made, read or written.
    #[error("the CA's {path} cannot be used: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can get at the key.
    #[error(
        "the CA's key {path} can be read by others (its mode is {mode:o}): take that away (chmod 600), or remove it and \
         its certificate for a new CA if somebody may have"
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file is not what it should be.
    #[error(
        "the CA's {path} is damaged: expected {expected} in PEM; restore it, or remove it and its pair for a new CA"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// A certificate without its key.
    #[error("the CA's key {path} is missing, and its certificate is there: restore it, or remove that for a new CA")]
    KeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A certificate and a key that are no pair, or a CA made by something else.
    #[error(
        "the CA's {certificate} and {key} do not belong together, or are not this program's: restore the right one, \
         or remove both for a new CA"
    )]
    Unpaired {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

impl Ca {
    /// A new CA that nobody trusts yet, in memory alone. It holds from a day before `now`, for ten years.
    ///
    /// # Panics
    /// If the machine has no random numbers to give.
    #[must_use]
    pub fn make(now: Timestamp) -> Self {
        let key = new_key();
        Self { pem: self_signed(&key, now).pem(), issuer: Issuer::new(ca_params(&key, now), key) }
    }

    /// The CA that is kept in a directory; a new one where there is none yet.
    ///
    /// Any number of processes may call this at once, and each may be killed at any point: all have the same CA.
    /// Each file appears whole or not at all, and never a second time. The key comes first. Where there is a key
    /// without a certificate, somebody is between the two or was killed there, and a certificate is made for that key.
    ///
    /// # Errors
    /// If the directory cannot be used, or what is in it is damaged, no pair, or a key that others can read.
    ///
    /// # Panics
    /// If the machine has no random numbers to give.
    pub fn open(dir: &Path, now: Timestamp) -> Result<Self, CaError> {
        let (certificate_path, key_path) = (dir.join(CERTIFICATE_FILE), dir.join(KEY_FILE));
        // The certificate is looked for first and written last: where one is seen, its key was there before.
        let certificate = read(&certificate_path)?;
        let key = match read_key(&key_path)? {
            Some(key) => key,
            None if certificate.is_some() => return Err(CaError::KeyMissing { path: key_path }),
            None => {
                let new = new_key().serialize_pem();
                publish(dir, &key_path, &new, 0o600)?;
                // Perhaps somebody else's, who was faster.
                read_key(&key_path)?.ok_or(CaError::KeyMissing { path: key_path.clone() })?
            }
        };
        let own = self_signed(&key, now);
        let pem = match certificate {
            Some(pem) => pem,
            None => {
                publish(dir, &certificate_path, &own.pem(), 0o644)?;
                let published = read(&certificate_path)?;
                published.ok_or_else(|| CaError::Io {
                    path: certificate_path.clone(),
                    source: io::ErrorKind::NotFound.into(),
                })?
            }
        };
        let damaged = || CaError::Damaged { path: certificate_path.clone(), expected: "a certificate" };
        let kept = CertificateDer::from_pem_slice(pem.as_bytes()).ok().and_then(|kept| anchor(&kept));
        // What makes a certificate trusted is its subject and its public key: all else may differ from one made today.
        if Some(kept.ok_or_else(damaged)?) != anchor(own.der()) {
            return Err(CaError::Unpaired { certificate: certificate_path, key: key_path });
        }
        Ok(Self { pem, issuer: Issuer::new(ca_params(&key, now), key) })
    }

    /// The certificate that clients trust, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// What the certificate says of itself.
    ///
    /// # Panics
    /// Never: what is no certificate is no CA.
    #[must_use]
    pub fn described(&self) -> CaDescription {
        let der = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("the certificate was read before");
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).expect("the certificate was read before");
        let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(&der).into();
        let pairs: Vec<_> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        CaDescription {
            subject: certificate.subject().to_string(),
            fingerprint: pairs.join(":"),
            from: time(certificate.validity().not_before),
            to: time(certificate.validity().not_after),
        }
    }

    /// A certificate for hosts, with a key of its own. It holds from a day before `now`, for 397 days in all.
    ///
    /// # Panics
    /// If the machine has no random numbers to give.
    #[must_use]
    pub fn leaf(&self, names: &[HostName], now: Timestamp) -> Leaf {
        let names: Vec<String> = names.iter().map(HostName::to_string).collect();
        let mut params = CertificateParams::new(names).expect("the names of hosts are ASCII");
        params.distinguished_name = subject("vod-testkit server".to_owned());
        hold(&mut params, now, LEAF_HOLDS);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("an ECDSA key signs what this function wrote");
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the suites of TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into());
        let mut config = config.expect("the key is the one that was certified");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Leaf { config: Arc::new(config), failed: Arc::default() }
    }
}

/// A certificate with its key, ready to serve.
#[derive(Clone)]
pub struct Leaf {
    config: Arc<ServerConfig>,
    failed: Arc<AtomicU64>,
}

impl Leaf {
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Counts handshakes that fail.
    pub(super) fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.failed)
    }

    /// How many handshakes failed to which this was shown, or any clone of it: the client does not trust it, or speaks
    /// something else. Whoever is gone before the handshake is over, or too slow for it, is not counted.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// ECDSA on P-256: made in microseconds, and known to every client that knows TLS 1.2.
fn new_key() -> KeyPair {
    KeyPair::generate().expect("the machine has random numbers")
}

fn subject(name: String) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// All that a CA is but for its key. The name tells one CA from the next in a list of those that are trusted.
fn ca_params(key: &KeyPair, now: Timestamp) -> CertificateParams {
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(key.public_key_raw()).into();
    let mut params = CertificateParams::default();
    params.distinguished_name = subject(format!("vod-testkit CA {a:02x}{b:02x}{c:02x}{d:02x}"));
    hold(&mut params, now, CA_HOLDS);
    // It certifies servers, and no further CA.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn self_signed(key: &KeyPair, now: Timestamp) -> rcgen::Certificate {
    ca_params(key, now).self_signed(key).expect("an ECDSA key signs what this file wrote")
}

/// What a peer that trusts a certificate goes by; none where it is no certificate.
fn anchor(certificate: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).ok()?;
    roots.roots.pop()
}

/// Lets a certificate hold from shortly before `now`, for so long in all.
fn hold(params: &mut CertificateParams, now: Timestamp, all: Duration) {
    // Nobody's clock shows a time before 1970 unless it is wrong, and then any beginning is as good.
    let since_1970 = Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default();
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since_1970.saturating_sub(HELD_SINCE);
    // The last second counts as held.
    params.not_after = params.not_before + all - Duration::from_secs(1);
}

/// The text of a file, if there is one.
fn read(path: &Path) -> Result<Option<String>, CaError> {
    match fs::read(path) {
        // What is no text is no PEM either, and is told as that.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CaError::Io { path: path.to_owned(), source }),
    }
}

/// The key in a file, if there is one and nobody else can read it.
fn read_key(path: &Path) -> Result<Option<KeyPair>, CaError> {
    let unusable = |source| CaError::Io { path: path.to_owned(), source };
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error)),
    };
    let mode = file.metadata().map_err(unusable)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CaError::Exposed { path: path.to_owned(), mode });
    }
    let mut pem = Vec::new();
    file.read_to_end(&mut pem).map_err(unusable)?;
    // Why it cannot be read is not told: the reason may quote the key.
    let damaged = |_| CaError::Damaged { path: path.to_owned(), expected: "a private key" };
    KeyPair::from_pem(&String::from_utf8_lossy(&pem)).map(Some).map_err(damaged)
}

/// Writes a file that nobody ever sees half. One that is there already stays as it is.
fn publish(dir: &Path, path: &Path, text: &str, mode: u32) -> Result<(), CaError> {
    let write = || {
        fs::create_dir_all(dir)?;
        let mut new = tempfile::Builder::new().permissions(Permissions::from_mode(mode)).tempfile_in(dir)?;
        new.write_all(text.as_bytes())?;
        match new.persist_noclobber(path) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
            Ok(_) | Err(_) => Ok(()),
        }
    };
    write().map_err(|source| CaError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
