//! The mock on real sockets, driven by bytes that are written here and not by our own client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod callbacks;
mod codes;
mod contract;
mod faults;
mod profiles;
mod wire;
