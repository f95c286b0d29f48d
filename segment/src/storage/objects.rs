//! Small objects that deep storage keeps beside the segments, in a folder of their own: results that are fetched later,
//! and what is said of them. Unlike segments they can be listed, replaced and deleted by name.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::{Error, Result};

#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    folder: String,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, folder: &str) -> Objects {
        Objects { store, folder: folder.to_string() }
    }

    /// Parts of a name are separated by `/`; other characters that paths cannot hold are percent-encoded.
    fn key(&self, name: &str) -> Key {
        Key::from_iter([self.folder.as_str()].into_iter().chain(name.split('/')))
    }

    /// Writes an object whole, in place of one of that name.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.store
            .put(&self.key(name), bytes.into())
            .await
            .map(|_| ())
            .map_err(|error| self.failed("write", name, error))
    }

    /// `None` if there is none of that name.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let got = match self.store.get(&self.key(name)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            got => got.map_err(|error| self.failed("read", name, error))?,
        };
        got.bytes().await.map(Some).map_err(|error| self.failed("read", name, error))
    }

    /// Deleting what is not there succeeds.
    pub async fn delete(&self, name: &str) -> Result<()> {
        match self.store.delete(&self.key(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed("delete", name, error)),
        }
    }

    /// Names of all objects below a name (`""` for all), in no order.
    pub async fn list(&self, below: &str) -> Result<Vec<String>> {
        let prefix = if below.is_empty() { Key::from(self.folder.as_str()) } else { self.key(below) };
        let top = Key::from(self.folder.as_str());
        let found: Vec<_> =
            self.store.list(Some(&prefix)).try_collect().await.map_err(|error| self.failed("list", below, error))?;
        let name = |key: &Key| {
            let parts: Vec<String> = key.prefix_match(&top)?.map(|part| part.as_ref().to_string()).collect();
            Some(parts.join("/"))
        };
        Ok(found.iter().filter_map(|meta| name(&meta.location)).collect())
    }

    fn failed(&self, what: &str, name: &str, error: object_store::Error) -> Error {
        Error::io(format!("{what} {}/{name} of deep storage", self.folder), std::io::Error::other(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::deep::DeepStorage;

    #[tokio::test]
    async fn objects_come_and_go_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let objects = DeepStorage::local(folder.path()).unwrap().objects("kept");
        assert_eq!(objects.list("").await.unwrap(), Vec::<String>::new());
        objects.put("a/1", Bytes::from_static(b"one")).await.unwrap();
        objects.put("a/2", Bytes::from_static(b"two")).await.unwrap();
        objects.put("b/1", Bytes::from_static(b"three")).await.unwrap();
        assert_eq!(objects.get("a/2").await.unwrap().as_deref(), Some(&b"two"[..]));
        let mut found = objects.list("a").await.unwrap();
        found.sort();
        assert_eq!(found, ["a/1", "a/2"]);
        objects.delete("a/2").await.unwrap();
        objects.delete("a/2").await.unwrap();
        assert_eq!(objects.get("a/2").await.unwrap(), None);
        assert_eq!(objects.list("").await.unwrap().len(), 2);
    }
}
