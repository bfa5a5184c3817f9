//! What stands behind the rim: the mind of a server.

use std::future::Future;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use vod_proto::exchange::End;

use crate::{
    body::{Body, BodyError},
    message::{Answer, Effects, Head, ReplyOut, Stakes, Subject},
};

/// The body of an answer that is no part of the protocol, such as a page of the admin API.
pub type AsideBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A server's mind: what it makes of a request.
///
/// The rim calls [`subject`](Host::subject), [`read`](Host::read) and [`commit`](Host::commit) in this order,
/// and asks the fault engine between them.
/// A request may end after any of them; nothing may have an effect before `commit`, or a fault that strikes before it says
/// what is not so. A proxy cannot help it: where it passes a body on as it comes, no fault is planned.
pub trait Host: Send + Sync + 'static {
    /// Who asks, as far as this mind needs it again.
    type Caller: Send;

    /// What a read request waits as until it is committed.
    type Staged: Send + 'static;

    /// Who and what the request is about, and who asks.
    fn subject(&self, head: &Head) -> impl Future<Output = (Subject, Self::Caller)> + Send;

    /// Is there still the account that a request was found to be of? Where it was given up meanwhile, and what was its own
    /// is forgotten, the request is nobody's.
    fn is_known(&self, caller: &Self::Caller) -> bool;

    /// Takes in the body, without any effect that anyone can see.
    ///
    /// A refusal is staged like anything else: what is left of the body is then read and thrown away by the rim,
    /// because a reply that comes while the client still sends is lost more often than not.
    ///
    /// # Errors
    /// Passes on what went wrong with the body.
    fn read(
        &self,
        head: &Head,
        caller: Self::Caller,
        body: &mut Body,
    ) -> impl Future<Output = Result<Self::Staged, BodyError>> + Send;

    /// What has the request that a fault could spoil, if this is committed? The session and the reply are not its to say.
    fn stakes(&self, staged: &Self::Staged) -> Stakes;

    /// Has the upload a session that the request is about? Asked only where a fault could strike that needs to know.
    fn has_session(&self, subject: &Subject) -> impl Future<Output = bool> + Send;

    /// Lets the session of the upload expire that the request is about: a fault wants it so.
    fn expire_session(&self, subject: &Subject) -> impl Future<Output = ()> + Send;

    /// How many bytes of the request's body are read at most.
    fn body_ceiling(&self, subject: &Subject) -> u64;

    /// Makes it so, and says what to answer. Once begun it is finished, also when the client has gone meanwhile.
    ///
    /// # Errors
    /// How the connection ends, where there is no answer.
    fn commit(&self, staged: Self::Staged, effects: Effects) -> impl Future<Output = Result<Answer, End>> + Send;

    /// Adds to a reply what every reply to such a request carries, whoever made it: a fault's reply too.
    fn dress(&self, head: &Head, reply: &mut ReplyOut);

    /// Is this path served beside the protocol, without faults and without evidence?
    fn is_aside(&self, path: &str) -> bool;

    /// Answers a request beside the protocol.
    fn aside(&self, request: http::Request<Incoming>) -> impl Future<Output = http::Response<AsideBody>> + Send;
}
