//! Lookups: named maps from text to text, which expressions, dimensions and joins read.
//!
//! [`Lookups`] is what a process has now; it changes as a whole. A query is parsed inside [`Lookups::scope`], and every
//! part of it that names a lookup takes the map as it is then ([`named`]), so that one query sees one version throughout.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use hashbrown::HashMap;
use parking_lot::RwLock;
use sha2::{Digest, Sha256};

/// A map from text to text. `Debug` tells its digest, and no entry.
#[derive(Default)]
pub struct Lookup {
    pub version: String,
    entries: HashMap<Arc<str>, Arc<str>, foldhash::fast::RandomState>,
    digest: OnceLock<[u8; 32]>,
}

impl Lookup {
    pub fn new(version: String, entries: impl IntoIterator<Item = (String, String)>) -> Lookup {
        let entries = entries.into_iter().map(|(key, value)| (Arc::from(key), Arc::from(value))).collect();
        Lookup { version, entries, digest: OnceLock::new() }
    }

    pub fn get(&self, key: &str) -> Option<&Arc<str>> {
        self.entries.get(key)
    }

    /// All entries, by key.
    pub fn entries(&self) -> Vec<(&Arc<str>, &Arc<str>)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable();
        entries
    }

    /// Of the version and all entries: two lookups with the same digest are the same. Worked out when first asked for.
    pub fn digest(&self) -> &[u8; 32] {
        self.digest.get_or_init(|| {
            let mut hash = Sha256::new();
            let mut put = |text: &str| {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            };
            put(&self.version);
            for (key, value) in self.entries() {
                put(key);
                put(value);
            }
            hash.finalize().into()
        })
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookup(")?;
        self.digest().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}

type Map = Arc<BTreeMap<String, Arc<Lookup>>>;

/// The lookups of a process.
#[derive(Debug, Default)]
pub struct Lookups {
    map: RwLock<Map>,
    generation: AtomicU64,
}

thread_local! {
    static SCOPE: RefCell<Vec<Map>> = const { RefCell::new(Vec::new()) };
}

/// Leaves the scope, also when what runs in it panics.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        SCOPE.with_borrow_mut(Vec::pop);
    }
}

impl Lookups {
    /// Puts these in place of all that there are.
    pub fn replace(&self, map: BTreeMap<String, Arc<Lookup>>) {
        *self.map.write() = Arc::new(map);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Grows with every change.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn all(&self) -> Map {
        self.map.read().clone()
    }

    /// Runs a parser to which these lookups are the ones that are there.
    pub fn scope<T>(&self, parse: impl FnOnce() -> T) -> T {
        enter(self.all(), parse)
    }

    /// The same with those whose names pass, and no others.
    pub fn scope_of<T>(&self, passes: impl Fn(&str) -> bool, parse: impl FnOnce() -> T) -> T {
        let all = self.all();
        let some = match all.keys().all(|name| passes(name)) {
            true => all,
            false => {
                Arc::new(all.iter().filter(|(name, _)| passes(name)).map(|(n, l)| (n.clone(), l.clone())).collect())
            }
        };
        enter(some, parse)
    }
}

fn enter<T>(map: Map, parse: impl FnOnce() -> T) -> T {
    SCOPE.with_borrow_mut(|scope| scope.push(map));
    let _leave = Leave;
    parse()
}

/// The lookup of that name in the scope at hand; the error names those that there are.
pub fn named(name: &str) -> Result<Arc<Lookup>, String> {
    SCOPE.with_borrow(|scope| {
        let map = scope.last();
        if let Some(lookup) = map.and_then(|map| map.get(name)) {
            return Ok(lookup.clone());
        }
        let known: Vec<&str> = map.iter().flat_map(|map| map.keys()).map(String::as_str).take(20).collect();
        Err(match known.is_empty() {
            true => format!("lookup [{name}] is not found; there are no lookups"),
            false => format!("lookup [{name}] is not found; there are {}", known.join(", ")),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_sees_one_version() {
        let lookups = Lookups::default();
        let one = |to: &str| {
            BTreeMap::from([("x".to_string(), Arc::new(Lookup::new("v".into(), [("k".into(), to.into())])))])
        };
        lookups.replace(one("a"));
        assert!(named("x").unwrap_err().contains("no lookups"), "outside of a scope there are none");
        let taken = lookups.scope(|| {
            lookups.replace(one("b"));
            assert!(named("y").unwrap_err().ends_with("there are x"));
            named("x").unwrap()
        });
        assert_eq!(taken.get("k").unwrap().as_ref(), "a");
        assert_eq!(lookups.scope(|| named("x").unwrap()).get("k").unwrap().as_ref(), "b");
        assert_eq!(lookups.generation(), 2);
    }

    #[test]
    fn a_digest_tells_versions_keys_and_values_apart() {
        let of = |version: &str, entries: &[(&str, &str)]| {
            let entries = entries.iter().map(|(key, value)| (key.to_string(), value.to_string()));
            *Lookup::new(version.into(), entries).digest()
        };
        let one = of("v", &[("a", "b"), ("c", "d")]);
        assert_eq!(one, of("v", &[("c", "d"), ("a", "b")]));
        let others = [of("w", &[("a", "b"), ("c", "d")]), of("v", &[("a", "bc"), ("", "d")]), of("v", &[("a", "b")])];
        assert!(others.iter().all(|other| *other != one));
    }
}
