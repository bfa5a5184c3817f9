//! All that is removed from the text of a reply, as it streams by.

use std::ops::Deref;

use super::{JsonRedaction, Redactor};

/// Replaces members that are secrets, and every SecretId that was asked with, wherever it stands, piece by piece: what
/// [`Redactor::json`] does to a text that is there as a whole.
pub struct TextRedaction<R> {
    members: JsonRedaction<R>,
    redactor: R,
    /// Without secret members, and perhaps the beginning of a SecretId.
    held: Vec<u8>,
}

impl<R: Deref<Target = Redactor> + Clone> TextRedaction<R> {
    /// At the beginning of a text.
    #[must_use]
    pub fn new(redactor: R) -> Self {
        Self { members: JsonRedaction::new(redactor.clone()), redactor, held: Vec::new() }
    }

    /// Takes in a piece, and writes what is known to be no secret, or what stands for it. The rest follows later.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        self.members.push(piece, &mut self.held);
        let longest = self.redactor.known().map(|(secret_id, _)| secret_id.len()).max().unwrap_or(0);
        pass(&self.redactor, &mut self.held, longest.saturating_sub(1), out);
    }

    /// There is nothing more.
    pub fn finish(self, out: &mut Vec<u8>) {
        let Self { members, redactor, mut held } = self;
        members.finish(&mut held);
        pass(&redactor, &mut held, 0, out);
    }
}

/// Writes what is held but for the last bytes, which may be the beginning of a SecretId.
fn pass(redactor: &Redactor, held: &mut Vec<u8>, but_for: usize, out: &mut Vec<u8>) {
    let first = |held: &[u8]| {
        let found = redactor.known().filter_map(|(secret_id, placeholder)| {
            let at = memchr::memmem::find(held, secret_id.as_bytes())?;
            Some((at, secret_id.len(), placeholder))
        });
        found.min_by_key(|(at, ..)| *at)
    };
    let mut passed = 0;
    while let Some((at, len, placeholder)) = first(&held[passed..]) {
        out.extend_from_slice(&held[passed..passed + at]);
        out.extend_from_slice(placeholder.as_bytes());
        passed += at + len;
    }
    let rest = held.len().saturating_sub(but_for).max(passed);
    out.extend_from_slice(&held[passed..rest]);
    held.drain(..rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_pieces_is_redacted_as_it_is_as_a_whole() {
        let ids = ["AKIDz8krbsJ5yKBZQpn74WFkmLPx3gnPhESA", "AKIDyoursyoursyoursyours"];
        let redactor = Redactor::new([7; 32]);
        for id in ids {
            redactor.target(&format!("/?SecretId={id}"));
        }
        let [mine, yours] = ids;
        for text in [
            format!(r#"{{"message":"{mine}, or {yours}{yours}","token":"abc","list":["{mine}"]}}"#),
            format!("{mine}{yours}"),
            format!("no JSON, and AKID, AKI {} {yours}", &mine[..30]),
            String::new(),
        ] {
            let expected = redactor.json(&text).into_owned();
            assert!(!ids.iter().any(|id| expected.contains(id)), "{expected}");
            for size in 1..=text.len().max(1) {
                let (mut redaction, mut out) = (TextRedaction::new(&redactor), Vec::new());
                text.as_bytes().chunks(size).for_each(|piece| redaction.push(piece, &mut out));
                redaction.finish(&mut out);
                assert_eq!(String::from_utf8(out).unwrap(), expected, "in pieces of {size}");
            }
        }
    }
}
