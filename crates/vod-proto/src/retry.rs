//! What may be sent again: the one table of it, for every action and, in [`code`](crate::code), for every code.
//!
//! Client, mock and linter ask here; `docs/protocol.md`, *May it be sent again*, is printed from here.

use crate::{Action, action::Role};

/// What sending the very same request twice comes to, when the first one was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It tells the state, which is by then another one.
    Tells,
    /// The second takes the place of the first, byte for byte.
    Replaces,
    /// The second is answered like the first, and nothing happens again.
    SameAnswer,
    /// The server says where to go on, and takes nothing twice.
    Redirected,
    /// It is done twice, which nobody minds.
    Harmless,
}

/// What to do when the reply of a request is lost, so that nobody knows whether it was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LostReply {
    /// Send the same again: [`Repeat`] says why that does no harm.
    SendAgain,
    /// Ask the family's opening action first: only it tells a stored file from a forgotten one.
    AskFirst,
    /// Let it be.
    LetBe,
}

/// A row of the table of actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionRow {
    /// Which action.
    pub action: Action,
    /// What sending it twice comes to.
    pub repeat: Repeat,
    /// What to do when its reply is lost.
    pub lost: LostReply,
    /// The same in words.
    pub says: &'static str,
}

/// The row of an action.
#[must_use]
pub const fn of(action: Action) -> ActionRow {
    let (repeat, lost, says) = match action.role() {
        Role::Open => {
            (Repeat::Tells, LostReply::SendAgain, "tells what is there: nothing, some parts, or the whole file")
        }
        Role::Part => (Repeat::Replaces, LostReply::SendAgain, "a part that comes again takes the earlier one's place"),
        Role::Finish => (
            Repeat::SameAnswer,
            LostReply::AskFirst,
            "a stored file is answered again; a forgotten session cannot be told from one that was stored and removed, \
             so the opening action is asked before",
        ),
        Role::Next => (
            Repeat::Redirected,
            LostReply::SendAgain,
            "the reply names the offset to go on at, or the file if it is whole",
        ),
        Role::Whole => (Repeat::SameAnswer, LostReply::SendAgain, "a stored file is answered again"),
        Role::Report => (Repeat::Harmless, LostReply::LetBe, "nothing depends on it"),
    };
    ActionRow { action, repeat, lost, says }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_finish_must_not_be_repeated_blindly() {
        let asks: Vec<_> = Action::ALL.into_iter().filter(|action| of(*action).lost == LostReply::AskFirst).collect();
        assert_eq!(asks, [Action::FinishUpload, Action::FinishUploadEx]);
    }
}
