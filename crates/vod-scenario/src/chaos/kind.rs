//! The kinds of fault that chaos draws: each of the fault engine's verdicts, and what it is drawn like.

use std::time::Duration;

use vod_proto::{
    Code, Size,
    code::{RetryClass, TABLE},
};
use vod_serve::{
    KillTarget,
    fault::{
        Corrupt, DataSize, Delay, Hold, HttpFault, ListLie, Rate, Refuse, ReplyFault, Spread, Stall, Throttle,
        Transcode, TruncateReply, Verdict,
    },
};

use super::dice::Dice;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Reset,
    Close,
    EmptyReply,
    GarbageReply,
    TruncateReply,
    Http,
    Reply,
    Delay,
    Stall,
    Hold,
    ThrottleRead,
    ThrottleWrite,
    Refuse,
    DropPart,
    Corrupt,
    List,
    DataSize,
    ExpireSession,
    Transcode,
    KillMock,
    KillClient,
}

/// The longest time that a drawn fault refuses connections.
pub(super) const REFUSED_MOST_MS: u64 = 2_000;

impl Kind {
    /// Every kind, the simplest first: the shrinker goes down this list.
    pub(super) const ALL: [Self; 21] = [
        Self::Reset,
        Self::Close,
        Self::EmptyReply,
        Self::GarbageReply,
        Self::TruncateReply,
        Self::Http,
        Self::Reply,
        Self::Delay,
        Self::Stall,
        Self::Hold,
        Self::ThrottleRead,
        Self::ThrottleWrite,
        Self::Refuse,
        Self::DropPart,
        Self::Corrupt,
        Self::List,
        Self::DataSize,
        Self::ExpireSession,
        Self::Transcode,
        Self::KillMock,
        Self::KillClient,
    ];

    /// Of which kind a verdict is. No verdict can be forgotten here.
    pub(super) const fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Reply(_) => Self::Reply,
            Verdict::Http(_) => Self::Http,
            Verdict::Delay(_) => Self::Delay,
            Verdict::Throttle(Throttle { read: Some(_), .. }) => Self::ThrottleRead,
            Verdict::Throttle(_) => Self::ThrottleWrite,
            Verdict::Stall(_) => Self::Stall,
            Verdict::Close => Self::Close,
            Verdict::Reset => Self::Reset,
            Verdict::TruncateReply(_) => Self::TruncateReply,
            Verdict::GarbageReply => Self::GarbageReply,
            Verdict::EmptyReply => Self::EmptyReply,
            Verdict::Corrupt(_) => Self::Corrupt,
            Verdict::DropPart => Self::DropPart,
            Verdict::Kill(KillTarget::Mock) => Self::KillMock,
            Verdict::Kill(KillTarget::Client) => Self::KillClient,
            Verdict::List(_) => Self::List,
            Verdict::DataSize(_) => Self::DataSize,
            Verdict::ExpireSession => Self::ExpireSession,
            Verdict::Refuse(_) => Self::Refuse,
            Verdict::Hold(_) => Self::Hold,
            Verdict::Transcode(_) => Self::Transcode,
        }
    }

    /// One fault of this kind. `part_sizes` are the grids that the mock allows; `part` is the length of a part.
    pub(super) fn draw(self, dice: &mut Dice, part_sizes: (u64, u64), part: u64) -> Verdict {
        let byte = |dice: &mut Dice| if dice.percent(70) { 0 } else { dice.within(0, part.saturating_sub(1)) };
        let rate = |dice: &mut Dice| Rate::new(dice.rather_small(512, 1 << 20));
        match self {
            Self::Reset => Verdict::Reset,
            Self::Close => Verdict::Close,
            Self::EmptyReply => Verdict::EmptyReply,
            Self::GarbageReply => Verdict::GarbageReply,
            Self::TruncateReply => Verdict::TruncateReply(TruncateReply { at: dice.within(0, 20) }),
            Self::Http => {
                let status = *dice.one(&[400, 403, 404, 408, 429, 500, 502, 503, 504]);
                // Up to what the client's policy honours, a minute: whoever comes sooner than longer ones ask keeps it.
                let retry_after = dice.percent(50).then(|| Duration::from_secs(dice.within(1, 60)));
                Verdict::Http(HttpFault { status, retry_after })
            }
            Self::Reply => {
                // A server that claims a success it does not have is another matter: no client can know.
                let refusals: Vec<Code> = TABLE
                    .iter()
                    .map(|row| row.code)
                    .filter(|code| ![Code::OK, Code::RESUME, Code::EXISTS].contains(code))
                    .collect();
                // Most of them end an upload: those after which it goes on are drawn more often.
                let again: Vec<Code> =
                    refusals.iter().copied().filter(|code| code.retry_class(None) != RetryClass::Final).collect();
                let code = if dice.percent(75) { dice.one(&again).0 } else { dice.one(&refusals).0 };
                Verdict::Reply(ReplyFault { code, can_retry: dice.percent(50), message: "injected".to_owned() })
            }
            Self::Delay => Verdict::Delay(match dice.within(0, 2) {
                0 => Delay::Fixed(dice.time(1, 40_000)),
                1 => {
                    let min = dice.time(0, 1_000);
                    Delay::Drawn(Spread::Uniform { min, max: min + dice.time(1, 40_000) })
                }
                _ => {
                    let median = dice.time(1, 2_000);
                    let sigma = *dice.one(&[0.5, 1.0, 2.0]);
                    Delay::Drawn(Spread::LogNormal { median, sigma, cap: median + dice.time(0, 60_000) })
                }
            }),
            Self::Stall => Verdict::Stall(Stall(dice.percent(60).then(|| dice.time(1, 60_000)))),
            Self::Hold => Verdict::Hold(Hold("held".to_owned())),
            Self::ThrottleRead => Verdict::Throttle(Throttle { read: rate(dice), write: None }),
            Self::ThrottleWrite => Verdict::Throttle(Throttle { read: None, write: rate(dice) }),
            Self::Refuse => Verdict::Refuse(Refuse(dice.time(1, REFUSED_MOST_MS))),
            Self::DropPart => Verdict::DropPart,
            Self::Corrupt => Verdict::Corrupt(Corrupt { offset: byte(dice) }),
            Self::List => Verdict::List(*dice.one(&[
                ListLie::Stale,
                ListLie::WithoutMd5,
                ListLie::ShaInsteadOfMd5,
                ListLie::OtherMd5,
                ListLie::Empty,
            ])),
            Self::DataSize => {
                let (least, most) = part_sizes;
                let between = dice.within(least, most);
                let size = *dice.one(&[least, most, between]);
                Verdict::DataSize(DataSize(Size::new(size)))
            }
            Self::ExpireSession => Verdict::ExpireSession,
            Self::Transcode => Verdict::Transcode(Transcode(*dice.one(&[-1, -502]))),
            Self::KillMock => Verdict::Kill(KillTarget::Mock),
            Self::KillClient => Verdict::Kill(KillTarget::Client),
        }
    }

    /// Every verdict of this kind that has a name of its own, for what is possible.
    pub(super) fn samples(self) -> Vec<Verdict> {
        match self {
            Self::List => {
                use ListLie::{Empty, OtherMd5, ShaInsteadOfMd5, Stale, WithoutMd5};
                [Stale, WithoutMd5, ShaInsteadOfMd5, OtherMd5, Empty].map(Verdict::List).into()
            }
            _ => vec![self.draw(&mut Dice::of(0, "sample"), (1, 1), 1)],
        }
    }

    /// Must it be bounded, or it would strike for ever?
    pub(super) const fn kills(self) -> bool {
        matches!(self, Self::KillMock | Self::KillClient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_draws_its_own_verdicts() {
        for kind in Kind::ALL {
            let mut dice = Dice::of(1, "kind");
            for _ in 0..50 {
                assert_eq!(Kind::of(&kind.draw(&mut dice, (1, 9), 5)), kind);
            }
        }
        assert!(Kind::ALL.windows(2).all(|two| two[0] < two[1]), "the order is that of the list");
    }
}
