//! Numbers for strings that come from many dictionaries, shared by the threads of a query: equal strings, equal ids.
//! Id 0 is the null.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};

use hashbrown::HashTable;
use parking_lot::Mutex;

const SHARDS: usize = 16;
/// The id of null.
pub const NULL: u32 = 0;

pub struct Interner {
    shards: Vec<Mutex<Shard>>,
    next: AtomicU32,
    hasher: foldhash::fast::RandomState,
}

#[derive(Default)]
struct Shard {
    table: HashTable<u32>,
    store: Store,
    /// Ids of the texts in the store, in its order.
    ids: Vec<u32>,
}

/// Texts one after another.
#[derive(Default)]
struct Store {
    text: String,
    ends: Vec<usize>,
}

impl Store {
    fn get(&self, idx: u32) -> &str {
        let idx = idx as usize;
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        &self.text[start..self.ends[idx]]
    }
}

impl Default for Interner {
    fn default() -> Interner {
        Interner {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            next: AtomicU32::new(NULL + 1),
            hasher: Default::default(),
        }
    }
}

impl Interner {
    pub fn intern(&self, text: Option<&str>) -> u32 {
        let Some(text) = text else { return NULL };
        let hash = self.hasher.hash_one(text);
        let mut guard = self.shards[(hash >> 60) as usize % SHARDS].lock();
        let Shard { table, store, ids } = &mut *guard;
        let found = table.entry(hash, |idx| store.get(*idx) == text, |idx| self.hasher.hash_one(store.get(*idx)));
        match found {
            hashbrown::hash_table::Entry::Occupied(entry) => ids[*entry.get() as usize],
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let id = self.next.fetch_add(1, Ordering::Relaxed);
                entry.insert(ids.len() as u32);
                ids.push(id);
                store.text.push_str(text);
                store.ends.push(store.text.len());
                id
            }
        }
    }

    /// Memory that the texts take.
    pub fn bytes(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| {
                let shard = shard.lock();
                shard.store.text.capacity() + shard.store.ends.capacity() * 8 + shard.ids.capacity() * 9
            })
            .sum()
    }

    /// Takes the texts out, by id. Nothing may be interned afterwards.
    pub fn freeze(&self) -> Texts {
        let mut places = vec![(0, 0); self.next.load(Ordering::Relaxed) as usize];
        let mut stores = Vec::with_capacity(SHARDS);
        for (number, shard) in self.shards.iter().enumerate() {
            let shard = std::mem::take(&mut *shard.lock());
            for (idx, id) in shard.ids.iter().enumerate() {
                places[*id as usize] = (number as u32, idx as u32);
            }
            stores.push(shard.store);
        }
        Texts { stores, places }
    }
}

/// Texts by id.
pub struct Texts {
    stores: Vec<Store>,
    places: Vec<(u32, u32)>,
}

impl Texts {
    pub fn get(&self, id: u32) -> Option<&str> {
        if id == NULL {
            return None;
        }
        let (store, idx) = self.places[id as usize];
        Some(self.stores[store as usize].get(idx))
    }
}
