//! What a fault does. Each kind has a file of its own that says all of it: how it is written, when it can strike,
//! what it needs, and what happens.

mod close;
mod corrupt;
mod data_size;
mod delay;
mod drop_part;
mod empty_reply;
mod expire_session;
mod garbage_reply;
mod hold;
mod http;
mod kill;
mod list;
mod reading;
mod refuse;
mod reply;
mod reset;
mod stall;
mod throttle;
mod transcode;
mod truncate_reply;

use std::{future::Future, pin::Pin, sync::Arc};

use serde::{Deserialize, Serialize};

pub use corrupt::Corrupt;
pub use data_size::DataSize;
pub use delay::{Delay, Spread};
pub use hold::Hold;
pub(crate) use hold::Latch;
pub use http::HttpFault;
pub use list::ListLie;
pub use refuse::Refuse;
pub use reply::ReplyFault;
pub use stall::Stall;
pub use throttle::{Rate, Throttle};
pub use transcode::Transcode;
pub use truncate_reply::TruncateReply;

use super::{Phase, Selector, chance::Dice};
use crate::{
    KillTarget,
    journal::Open,
    message::{Effects, Need, ReplyOut},
    rim::{Cut, Rim},
};

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", remote = "Self")]
pub enum Verdict {
    /// Answers this in place of what would have been answered.
    Reply(ReplyFault),
    /// Answers with this HTTP status and no JSON.
    Http(HttpFault),
    /// Waits, and goes on.
    Delay(Delay),
    /// Takes in, or gives out, no more than so many bytes a second, to the end of the exchange.
    Throttle(Throttle),
    /// Falls silent: nothing more is taken in or given out for so long, then the connection is closed.
    Stall(Stall),
    /// Closes the connection.
    Close,
    /// Resets the connection (RST).
    Reset,
    /// Answers with the first bytes of the reply alone, in a message that HTTP takes for whole.
    TruncateReply(TruncateReply),
    /// Answers status 200 with bytes that are no JSON.
    GarbageReply,
    /// Takes the whole request, and closes the connection without a byte.
    EmptyReply,
    /// Keeps a part with one byte changed.
    Corrupt(Corrupt),
    /// Acknowledges the part and does not keep it.
    DropPart,
    /// Has a process killed: `"client"` or `"mock"`.
    Kill(KillTarget),
    /// Lies about the parts that are here.
    List(ListLie),
    /// Insists on another part size than was asked for.
    DataSize(DataSize),
    /// Lets the upload's session expire.
    ExpireSession,
    /// Closes the connection, and refuses every new one for so long.
    Refuse(Refuse),
    /// Waits until somebody releases what is held under this name.
    Hold(Hold),
    /// Lets the transcoding of the file that the request stores fail with this code, which is negative.
    Transcode(Transcode),
}

impl Verdict {
    fn kind(&self) -> &dyn Kind {
        match self {
            Self::Reply(kind) => kind,
            Self::Http(kind) => kind,
            Self::Delay(kind) => kind,
            Self::Throttle(kind) => kind,
            Self::Stall(kind) => kind,
            Self::Close => &close::Close,
            Self::Reset => &reset::Reset,
            Self::TruncateReply(kind) => kind,
            Self::GarbageReply => &garbage_reply::GarbageReply,
            Self::EmptyReply => &empty_reply::EmptyReply,
            Self::Corrupt(kind) => kind,
            Self::DropPart => &drop_part::DropPart,
            Self::Kill(kind) => kind,
            Self::List(kind) => kind,
            Self::DataSize(kind) => kind,
            Self::ExpireSession => &expire_session::ExpireSession,
            Self::Refuse(kind) => kind,
            Self::Hold(kind) => kind,
            Self::Transcode(kind) => kind,
        }
    }

    /// The word for it in journals and reports.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    /// The phases it can strike in.
    #[must_use]
    pub fn phases(&self) -> &'static [Phase] {
        self.kind().phases()
    }

    /// Does it touch the reply, so that what the client gets is no acknowledgement?
    #[must_use]
    pub fn on_reply(&self) -> bool {
        self.kind().on_reply()
    }

    /// What a request must have for it to spoil.
    pub(super) fn needs(&self) -> Need {
        self.kind().needs()
    }

    /// What the server must be able to do.
    pub(super) fn takes(&self) -> Power {
        self.kind().takes()
    }

    /// Could it ever strike in this phase, with this selector?
    pub(super) fn check(&self, phase: Phase, on: &Selector) -> Result<(), String> {
        let kind = self.kind();
        if !kind.phases().contains(&phase) {
            let phases: Vec<_> = kind.phases().iter().map(ToString::to_string).collect();
            return Err(format!("{} cannot strike in phase {phase}, but in {}", kind.name(), phases.join(", ")));
        }
        kind.check(phase, on)
    }

    /// Does it.
    pub(crate) fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a> {
        self.kind().strike(scene)
    }
}

/// What every kind of fault says of itself.
trait Kind: Sync {
    /// The word for it in journals and reports.
    fn name(&self) -> &'static str;

    /// The phases it can strike in.
    fn phases(&self) -> &'static [Phase];

    /// Does it touch the reply, so that what the client gets is no acknowledgement?
    fn on_reply(&self) -> bool {
        true
    }

    /// What a request must have for it to spoil.
    fn needs(&self) -> Need {
        Need::Nothing
    }

    /// What the server must be able to do.
    fn takes(&self) -> Power {
        Power::Any
    }

    /// Could it ever strike in this phase, which is one of its own, with this selector? Says why not.
    fn check(&self, _: Phase, _: &Selector) -> Result<(), String> {
        Ok(())
    }

    /// Does it.
    fn strike<'a>(&'a self, scene: &'a Scene<'a>) -> Striking<'a>;
}

/// A fault at work.
type Striking<'a> = Pin<Box<dyn Future<Output = Result<Change, Cut>> + Send + 'a>>;

/// What the work of a fault comes to that is done at once.
fn at_once<'a>(done: Result<Change, Cut>) -> Striking<'a> {
    Box::pin(std::future::ready(done))
}

/// What a server must be able to do for a fault to strike it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// What every server can.
    Any,
    /// It has uploads of its own that can be spoilt.
    Spoils,
    /// It has, and can read their bytes again.
    Rereads,
    /// Somebody kills for it.
    Kills,
    /// It can refuse connections.
    Refuses,
}

/// Where a fault strikes.
pub(crate) struct Scene<'a> {
    pub(crate) rim: &'a Arc<Rim>,
    pub(crate) open: &'a Arc<Open>,
    /// The fault's id.
    pub(crate) id: &'a str,
    pub(crate) dice: &'a Dice,
    /// What is to be waited for, if it holds.
    pub(crate) latch: Option<&'a Latch>,
}

/// What a fault changes in the course of an exchange that goes on.
#[derive(Default)]
pub(crate) struct Change {
    pub(crate) instead: Option<Instead>,
    pub(crate) effects: Effects,
    /// The upload's session is to expire now.
    pub(crate) expire_session: bool,
}

impl Change {
    fn instead(instead: Instead) -> Self {
        Self { instead: Some(instead), ..Self::default() }
    }

    fn effects(effects: Effects) -> Self {
        Self { effects, ..Self::default() }
    }
}

/// What is answered in place of the reply.
pub(crate) enum Instead {
    Reply(ReplyOut),
    /// The first bytes of it.
    First(usize),
    /// Not a byte, and the connection is closed.
    Nothing,
}
