//! The admin API over real HTTP. Every answer that a test here gets is held against the document that the mock serves.
//!
//! - `api`: the client that does so; `uploader`: one of the protocol, with an account of its own.
//! - `document`: what is documented is there, and what is there is documented.
//! - `accounts`, `faults`, `evidence`, `follow`: what the routes do.
//! - `gate`: who may ask, and where.
//! - `namespaces`: two hundred tests on one mock.

mod accounts;
mod api;
mod document;
mod evidence;
mod faults;
mod follow;
mod gate;
mod namespaces;
mod uploader;
