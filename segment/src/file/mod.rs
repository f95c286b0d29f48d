//! The segment file: layout, writer, reader. Drawn byte by byte in `docs/segment-format.md`.

pub mod layout;
mod reader;
pub mod writer;

use std::path::Path;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::meta::SegmentId;
use crate::segment::Segment;

/// Opens and maps a file, checks its header and footer. Columns are checked when first touched.
pub fn open(path: &Path, id: SegmentId) -> Result<Segment> {
    reader::open(reader::map(path)?, id, &path.display().to_string())
}

/// As [`open`], of a file's bytes in memory.
pub fn open_bytes(bytes: Bytes, id: SegmentId) -> Result<Segment> {
    reader::open(bytes, id, "segment bytes")
}

/// Reads the whole file and compares every checksum.
pub fn verify(path: &Path) -> Result<()> {
    let bytes = reader::map(path)?;
    reader::verify(&bytes).map_err(|text| Error::corrupt(format!("{}: {text}", path.display())))
}

/// As [`verify`], of a file's bytes in memory.
pub fn verify_bytes(bytes: &Bytes) -> Result<()> {
    reader::verify(bytes).map_err(|text| Error::corrupt(format!("segment bytes: {text}")))
}
