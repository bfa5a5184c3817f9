//! How a fault asks for a process to be killed.
//!
//! A server cannot kill its client, and should not kill itself: it asks its host.
//! The scenario runner answers with SIGKILL, the simulation by dropping a task.

use std::{future::Future, pin::Pin};

use serde::{Deserialize, Serialize};

/// Who is to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillTarget {
    /// The client whose request the fault struck.
    Client,
    /// The server itself.
    Mock,
}

impl std::fmt::Display for KillTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Mock => "mock",
        })
    }
}

/// Someone who can kill.
pub trait Killer: Send + Sync + 'static {
    /// Kills, and returns when the victim is gone. When the victim is the server itself, it may never return.
    fn kill<'a>(&'a self, target: KillTarget, fault: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}
