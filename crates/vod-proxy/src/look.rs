//! Looking at exchanges: what became of each upload, and what differs between two lists of them.

#[cfg(test)]
pub(crate) mod crafted;
mod diff;
mod table;

pub use diff::{Difference, diff};
pub use table::{UploadLine, table};
