//! What `recording.toml` says: versions, whom was recorded, when, what was redacted, what is kept of bodies.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vod_proto::redact::Rules;

use crate::{
    forward::{Allowed, BadHost},
    upstream::Origin,
};

/// The format that this version writes, in the manifest's `format`.
pub const FORMAT: u32 = 1;

/// What begins the last line of a manifest: the checksum, CRC-32, of everything before it. A comment, so that it belongs to
/// no table.
const SEAL: &str = "# checksum of all above: ";

/// What a recording says of itself. A reader passes over keys that it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    /// The format of the recording, [`FORMAT`].
    pub format: u32,
    /// Who made it: name and version.
    pub tool: String,
    /// When it was begun.
    pub started: Timestamp,
    /// What is kept of bodies.
    pub bodies: KeptBodies,
    /// Whom it was recorded from.
    pub source: Source,
    /// What was removed before anything was written.
    pub redaction: Redaction,
}

/// Whom a recording was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A reverse proxy stood before this server: its URL, without user and password.
    Upstream(String),
    /// A forward proxy let clients through to these hosts.
    Hosts(Vec<String>),
}

/// What is kept of bodies, beside what stands in the lines: the text of replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum KeptBodies {
    /// Lengths and digests alone.
    Digest,
    /// Those of requests.
    Requests,
    /// Those of replies. The default: replay needs them, and they are small.
    #[default]
    Replies,
    /// All.
    All,
}

impl KeptBodies {
    /// Are the bodies of requests kept?
    #[must_use]
    pub const fn requests(self) -> bool {
        matches!(self, Self::Requests | Self::All)
    }

    /// Are the bodies of replies kept?
    #[must_use]
    pub const fn replies(self) -> bool {
        matches!(self, Self::Replies | Self::All)
    }
}

/// What was removed before anything was written. All of it is said, also what is nothing: so a manifest that was cut off is
/// seen to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Redaction {
    /// What keys the placeholders: replay redacts what comes in with the same key, so that it still matches. No secret of
    /// anyone.
    #[serde(with = "hex::serde::no_prefix")]
    pub key: [u8; 32],
    /// Query parameters that are secrets, beside those of the protocol.
    pub parameters: Vec<String>,
    /// Headers that are secrets, beside those that always are.
    pub headers: Vec<String>,
    /// Members of JSON objects, wherever they stand, that are secrets.
    pub fields: Vec<String>,
}

impl Redaction {
    /// What is a secret beside what always is.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let Self { parameters, headers, fields, .. } = self.clone();
        Rules { parameters, headers, fields }
    }
}

impl Source {
    /// The hosts that were asked, each at its port or at the usual two.
    ///
    /// # Errors
    /// If one is no host, as somebody may have written by hand.
    pub fn allowed(&self) -> Result<Allowed, BadHost> {
        match self {
            Self::Upstream(url) => {
                let origin: Origin = url.parse().map_err(|_| BadHost::new(url))?;
                Ok(Allowed::from_iter([format!("{}:{}", origin.host(), origin.port()).parse()?]))
            }
            Self::Hosts(hosts) => hosts.iter().map(|host| host.parse()).collect(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(url) => f.write_str(url),
            Self::Hosts(hosts) => write!(f, "the hosts {}", hosts.join(", ")),
        }
    }
}

/// What is wrong with a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or not of this shape.
    #[error("{0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// Written by another version of these tools.
    #[error("a recording of format {found}: this version reads format {FORMAT}")]
    Version {
        /// What it says.
        found: u32,
    },
    /// Not as it was written.
    #[error(
        "not as it was written: the checksum in its last line says otherwise (whoever changes it takes that line away)"
    )]
    Changed,
}

impl Manifest {
    /// Reads a manifest. Where it is sealed, as every one is that was written here, it must be as it was written.
    ///
    /// # Errors
    /// Says where it is no manifest, and which format it has if this version cannot read it.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        if let Some(at) = seal_at(text)
            && text[at..] != seal_of(&text[..at])
        {
            return Err(ManifestError::Changed);
        }
        let Version { format } = toml::from_str(text).map_err(Box::new)?;
        if format != FORMAT {
            return Err(ManifestError::Version { found: format });
        }
        Ok(toml::from_str(text).map_err(Box::new)?)
    }

    /// Writes it, sealed.
    ///
    /// # Panics
    /// Never: all of it can be said in TOML.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(self).expect("a manifest can be said in TOML");
        let seal = seal_of(&text);
        text + &seal
    }
}

/// Where the checksum begins, whole or not: also what is left of it where the manifest was cut off within it.
fn seal_at(text: &str) -> Option<usize> {
    text.rfind(SEAL).or_else(|| {
        let begun = text.trim_ascii_end().rfind('#')?;
        SEAL.starts_with(text[begun..].trim_ascii_end()).then_some(begun)
    })
}

fn seal_of(before: &str) -> String {
    format!("{SEAL}{:08x}\n", crc32fast::hash(before.as_bytes()))
}

impl fmt::Display for KeptBodies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Digest => "digest",
            Self::Requests => "requests",
            Self::Replies => "replies",
            Self::All => "all",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT,
            tool: "vod-proxy 0.1.0".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            bodies: KeptBodies::Replies,
            source: Source::Upstream("https://vod2.qcloud.com".to_owned()),
            redaction: Redaction { key: [0xab; 32], fields: vec!["sessionKey".to_owned()], ..Redaction::default() },
        }
    }

    #[test]
    fn a_manifest_reads_back() {
        let text = manifest().to_toml();
        assert_eq!(Manifest::from_toml(&text).unwrap(), manifest(), "{text}");
        let forward = Manifest { source: Source::Hosts(vec!["vod2.qcloud.com".to_owned()]), ..manifest() };
        assert_eq!(Manifest::from_toml(&forward.to_toml()).unwrap(), forward);
    }

    #[test]
    fn no_byte_of_a_manifest_changes_unseen_and_none_is_missing() {
        let text = manifest().to_toml();
        for at in 0..text.len() {
            for flip in [1, 2, 16, 32, 64] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= flip;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                // What is not refused says what it said: then the change is in the words before the checksum.
                if let Ok(read) = Manifest::from_toml(&changed) {
                    assert_eq!(read, manifest(), "{changed}");
                }
            }
            if let Ok(read) = Manifest::from_toml(&text[..at]) {
                assert_eq!(read, manifest(), "{}", &text[..at]);
            }
        }
    }

    #[test]
    fn a_manifest_that_is_cut_off_in_its_checksum_is_refused() {
        let text = manifest().to_toml();
        let (before, _) = text.split_once(SEAL).unwrap();
        for at in before.len() + 1..text.len() {
            for end in ["", "\n", " \n\n"] {
                let cut = format!("{}{end}", &text[..at]);
                if cut != text {
                    assert!(matches!(Manifest::from_toml(&cut), Err(ManifestError::Changed)), "{cut}");
                }
            }
        }
        // Nothing is wrong with what somebody notes there.
        assert_eq!(Manifest::from_toml(&format!("{before}# checked by hand\n")).unwrap(), manifest());
    }

    #[test]
    fn a_manifest_that_somebody_wrote_is_read_and_one_of_another_format_is_not() {
        let text = manifest().to_toml();
        let (by_hand, _) = text.split_once(SEAL).unwrap();
        assert_eq!(Manifest::from_toml(&format!("{by_hand}later = 1\n")).unwrap(), manifest());
        let error = Manifest::from_toml(&by_hand.replace("format = 1", "format = 7")).unwrap_err().to_string();
        assert_eq!(error, "a recording of format 7: this version reads format 1");
    }
}
