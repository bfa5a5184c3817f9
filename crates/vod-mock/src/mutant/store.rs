//! A store that keeps less than it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use vod_serve::{Journal, journal::Whose};

use super::{Mutant, here, is};
use crate::{
    core::{BodyId, Record},
    store::{Staging, Store},
};

/// A store that errs; with no mistake to make it is the store.
pub(super) struct Keeps {
    pub(super) real: Arc<dyn Store>,
    pub(super) journal: Arc<Journal>,
}

#[async_trait]
impl Store for Keeps {
    async fn load(&self) -> io::Result<Vec<Record>> {
        let mut records = self.real.load().await?;
        match here() {
            Some(Mutant::PartLostOnRestart) => {
                let parts = records.iter().enumerate().filter(|(_, record)| matches!(record, Record::Part { .. }));
                let first: BTreeMap<_, _> = parts.rev().map(|(at, record)| (record.key().clone(), at)).collect();
                let lost: BTreeSet<_> = first.into_values().collect();
                let mut at = 0..;
                records.retain(|_| at.next().is_some_and(|at| !lost.contains(&at)));
            }
            Some(Mutant::FinishLostOnRestart) => records.retain(|record| !matches!(record, Record::Stored { .. })),
            Some(Mutant::JournalLostOnRestart) => self.journal.reset(&Whose::Everybody),
            _ => {}
        }
        Ok(records)
    }

    async fn append(&self, record: &Record) -> io::Result<()> {
        self.real.append(record).await
    }

    async fn stage(&self) -> io::Result<Box<dyn Staging>> {
        let (real, store) = (self.real.stage().await?, Arc::clone(&self.real));
        Ok(Box::new(Stages { real, store, len: 0 }))
    }

    async fn read(&self, body: BodyId, offset: u64, len: usize) -> io::Result<Bytes> {
        self.real.read(body, offset, len).await
    }

    async fn discard(&self, body: BodyId) {
        if !is(Mutant::BodiesNeverFreed) {
            self.real.discard(body).await;
        }
    }

    fn rereads(&self) -> bool {
        self.real.rereads()
    }

    async fn passed(&self, body: BodyId) {
        self.real.passed(body).await;
    }
}

struct Stages {
    real: Box<dyn Staging>,
    store: Arc<dyn Store>,
    len: u64,
}

#[async_trait]
impl Staging for Stages {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.len += bytes.len() as u64;
        self.real.write(bytes).await
    }

    async fn flip(&mut self, offset: u64) -> io::Result<()> {
        self.real.flip(offset).await
    }

    async fn keep(mut self: Box<Self>) -> io::Result<BodyId> {
        if is(Mutant::BitsRot) && self.len > 0 {
            self.real.flip(self.len / 2).await?;
        }
        let body = self.real.keep().await?;
        if is(Mutant::PartNotKept) {
            self.store.discard(body).await;
        }
        Ok(body)
    }
}
