//! What the client makes of replies that were not made by our own mock: a stub answers with literal bytes, over TCP.
//!
//! - `stub`: the stub, and what is shown of an upload to it.
//! - `shapes`: the replies that work with every known client, and what else is taken for them.
//! - `strange`: what is no reply of the protocol, to each request of each family.
//! - `wrong`: replies that say what they should not, field by field, and errors inside a 200.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

#[path = "replies/shapes.rs"]
mod shapes;
#[path = "replies/strange.rs"]
mod strange;
#[path = "replies/stub.rs"]
mod stub;
#[path = "replies/wrong.rs"]
mod wrong;
