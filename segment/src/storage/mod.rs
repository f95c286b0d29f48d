//! Where files rest: deep storage (a folder or an S3 bucket) and this node's local copies. The only async code of this
//! crate.
//!
//! What holds over all of it: **corruption is found, never answered from.**
//!
//! 1. A file is named in deep storage by the checksum of its bytes, and pushed only if it has them. A name therefore
//!    means one content for ever ([`deep`]).
//! 2. A local copy gets its name after length and checksum were compared with the catalog's and it was synced ([`cache`]).
//! 3. Opening a copy checks the footer; a column's sections are checked as a whole, once, when the column is first
//!    touched ([`crate::file`]). No row is read of a section that was not checked in this life of the process, so a copy
//!    of the last run can be served without reading it first.
//! 4. [`cache::SegmentCache::verify`] reads whole copies of the last run in the background, also what no query touches.
//!
//! Not found: a file whose bytes change on disk after its section was checked and while it is mapped (the disk must then
//! give other bytes for a page that was given back). A sector that cannot be read at all ends the process, as it does for
//! everybody who maps files.

mod budget;
pub mod cache;
pub mod deep;
pub mod objects;
pub mod settings;
mod store;
