//! Small objects that deep storage keeps beside the segments, in a folder of their own: results that are fetched later,
//! and what is said of them. Unlike segments they can be listed, replaced and deleted by name.

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::path::Path as Key;

use super::store::{Source, Store};
use crate::error::{Error, Result};

#[derive(Clone)]
pub struct Objects {
    store: Store,
    folder: String,
}

impl Objects {
    pub(super) fn new(store: Store, folder: &str) -> Objects {
        Objects { store, folder: folder.to_string() }
    }

    /// Parts of a name are separated by `/`; other characters that paths cannot hold are percent-encoded.
    fn key(&self, name: &str) -> Key {
        Key::from_iter([self.folder.as_str()].into_iter().chain(name.split('/')))
    }

    /// Writes an object whole, in place of one of that name. Readers find the old bytes or the new ones.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let key = self.key(name);
        let _turn = self.store.turn().await;
        let len = bytes.len() as u64;
        self.store.within("write", &key, len, self.store.put(&key, Source::Bytes(bytes), |_| Ok(()))).await
    }

    /// `None` if there is none of that name.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>> {
        let key = self.key(name);
        let _turn = self.store.turn().await;
        let opened = match self.store.within("read", &key, 0, self.store.get(&key, false)).await {
            Err(Error::NotFound(_)) => return Ok(None),
            opened => opened?,
        };
        let (len, parts) = opened;
        let all = parts.try_fold(BytesMut::new(), |mut all, part| async move {
            all.extend_from_slice(&part);
            Ok(all)
        });
        self.store.within("read", &key, len, all).await.map(|all| Some(all.freeze()))
    }

    /// Deleting what is not there succeeds.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.store.delete(&self.key(name)).await
    }

    /// Names of all objects below a name (`""` for all), in no order.
    pub async fn list(&self, below: &str) -> Result<Vec<String>> {
        let prefix = if below.is_empty() { Key::from(self.folder.as_str()) } else { self.key(below) };
        let top = Key::from(self.folder.as_str());
        let found = self.store.list(&prefix).await?;
        let name = |key: &Key| {
            let parts: Vec<String> = key.prefix_match(&top)?.map(|part| part.as_ref().to_string()).collect();
            Some(parts.join("/"))
        };
        Ok(found.iter().filter_map(name).collect())
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
