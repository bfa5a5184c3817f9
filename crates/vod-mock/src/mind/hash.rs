//! Takes the SHA-1 of uploads: along the prefix as parts come in, and of stored files again.

use std::io;

use vod_proto::{Sha1, digest::Sha1Hasher};

use super::{Mind, Slot};
use crate::core::{BodyId, StoredFile};

/// How much of a kept body is read at a time to take its hash.
const READ_PIECE: usize = 256 << 10;

impl Mind {
    /// Takes the file's hash further, unless someone does already. Whoever does will find the newest part too, unless
    /// it has just finished: then the next one does.
    pub(super) async fn hash_in_passing(&self, slot: &Slot) {
        if let Ok(_turn) = slot.hashing.try_lock()
            && let Err(error) = self.hash_on(slot).await
        {
            tracing::warn!(%error, "a kept part could not be read back; the finish will try again");
        }
    }

    /// Takes the file's hash along the prefix as far as parts are here. The caller holds the turn.
    pub(super) async fn hash_on(&self, slot: &Slot) -> io::Result<()> {
        loop {
            let next = slot.upload.lock().await.session_mut().map(|session| session.next_to_hash());
            let Some((mut prefix, Some(part))) = next else { return Ok(()) };
            let before = prefix.passed();
            let read = self.each_piece(part.body, part.span.len, |piece| prefix.absorb(piece)).await;
            let mut upload = slot.upload.lock().await;
            let Some(session) = upload.session_mut() else { return Ok(()) };
            let still = session.next_to_hash().1 == Some(part);
            // A body that vanished because its part was replaced meanwhile is no error: the new one is read next.
            if still {
                read?;
                session.hashed(prefix);
                if session.next_to_hash().0.passed() == before {
                    return Ok(());
                }
                drop(upload);
                self.store.passed(part.body).await;
            }
        }
    }

    pub(super) async fn each_piece(
        &self,
        body: BodyId,
        len: u64,
        mut take: impl FnMut(&[u8]) + Send,
    ) -> io::Result<()> {
        let mut at = 0;
        while at < len {
            let piece = self.store.read(body, at, READ_PIECE).await?;
            if piece.is_empty() {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a kept part is shorter than it was"));
            }
            at += piece.len() as u64;
            take(&piece);
        }
        Ok(())
    }

    /// The SHA-1 of a stored file, as far as it can be known: from its bytes, read again, or from a time when they
    /// could be read.
    pub(crate) async fn stored_sha1(&self, file: &StoredFile) -> Option<Sha1> {
        if !self.store.rereads() {
            return file.taken_sha1;
        }
        let mut hasher = Sha1Hasher::default();
        for part in &file.parts {
            self.each_piece(part.body, part.span.len, |piece| hasher.update(piece)).await.ok()?;
        }
        Some(hasher.finish())
    }
}
