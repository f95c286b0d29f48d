//! Local copies of published segments: fetched, checked, opened, evicted.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::meta::SegmentMeta;
use crate::segment::Segment;
use crate::storage::deep::DeepStorage;

pub struct SegmentCache {
    pub folder: PathBuf,
    pub deep: DeepStorage,
}

impl SegmentCache {
    /// The open segment: from the local copy if it is whole, else fetched again (a broken copy is set aside).
    pub async fn load(&self, meta: &SegmentMeta) -> Result<Arc<Segment>> {
        let _ = meta;
        todo!()
    }

    pub fn drop_local(&self, meta: &SegmentMeta) -> Result<()> {
        let _ = meta;
        todo!()
    }
}
