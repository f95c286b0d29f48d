//! Deep storage: published files, written once, never changed.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;

use crate::error::Result;
use crate::meta::SegmentMeta;

#[derive(Clone)]
pub struct DeepStorage {
    store: Arc<dyn ObjectStore>,
}

impl DeepStorage {
    pub fn new(store: Arc<dyn ObjectStore>) -> DeepStorage {
        DeepStorage { store }
    }

    /// A folder of this machine (created if missing); writes are synced.
    pub fn local(folder: &Path) -> Result<DeepStorage> {
        let _ = folder;
        todo!()
    }

    /// Uploads a file under a key of its id and checksum (so a retry writes the same object) and returns the meta with
    /// its `path` set.
    pub async fn push(&self, file: &Path, meta: SegmentMeta) -> Result<SegmentMeta> {
        let _ = (file, meta, &self.store);
        todo!()
    }

    /// Downloads to a local file, synced, checked against the meta's size and checksum.
    pub async fn pull(&self, meta: &SegmentMeta, to: &Path) -> Result<()> {
        let _ = (meta, to);
        todo!()
    }

    pub async fn delete(&self, meta: &SegmentMeta) -> Result<()> {
        let _ = meta;
        todo!()
    }
}
