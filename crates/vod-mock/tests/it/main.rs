//! The mock on real sockets, driven by bytes that are written here and not by our own client.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod admin;
mod browsers;
mod callbacks;
mod codes;
mod contract;
mod covers;
mod evidence;
mod faults;
mod hostile;
mod legacy;
mod library;
mod parameters;
mod peers;
mod pipe;
mod profiles;
mod signing;
mod stores;
mod tls;
mod ugc;
mod uploader;
mod vectors;
mod wire;
