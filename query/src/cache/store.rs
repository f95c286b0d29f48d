//! Values by digest, within a budget of bytes: what was not asked for longest goes first.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use parking_lot::Mutex;

/// A digest of all that a value was made of.
pub type Key = [u8; 32];

/// What an entry takes besides its value: its keys, and its places in both maps.
const ENTRY_BYTES: usize = 160;

/// Shared by all threads; the lock is held for the time of a few map operations.
pub struct Store<V> {
    bytes_max: usize,
    state: Mutex<State<V>>,
}

struct State<V> {
    /// Counts uses.
    clock: u64,
    bytes: usize,
    kept: HashMap<Key, Entry<V>>,
    /// What was used when, the longest ago first.
    used: BTreeMap<u64, Key>,
}

struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<V: Clone> Store<V> {
    /// `bytes_max` 0 keeps nothing.
    pub fn new(bytes_max: usize) -> Store<V> {
        let state = State { clock: 0, bytes: 0, kept: HashMap::new(), used: BTreeMap::new() };
        Store { bytes_max, state: Mutex::new(state) }
    }

    pub fn is_off(&self) -> bool {
        self.bytes_max == 0
    }

    /// What is kept now, in bytes.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    pub fn get(&self, key: &Key) -> Option<V> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let entry = state.kept.get_mut(key)?;
        state.clock += 1;
        state.used.remove(&entry.used);
        state.used.insert(state.clock, *key);
        entry.used = state.clock;
        Some(entry.value.clone())
    }

    /// Keeps a value of so many bytes, in place of one with the same key; how many others went for it.
    pub fn put(&self, key: Key, value: V, bytes: usize) -> u64 {
        let bytes = bytes + ENTRY_BYTES;
        if bytes > self.bytes_max {
            return 0;
        }
        let mut gone = Vec::new();
        let mut state = self.state.lock();
        state.clock += 1;
        let used = state.clock;
        if let Some(before) = state.kept.insert(key, Entry { value, bytes, used }) {
            state.bytes -= before.bytes;
            state.used.remove(&before.used);
        }
        state.bytes += bytes;
        state.used.insert(used, key);
        while state.bytes > self.bytes_max {
            let Some((_, oldest)) = state.used.pop_first() else { break };
            if let Some(entry) = state.kept.remove(&oldest) {
                state.bytes -= entry.bytes;
                gone.push(entry);
            }
        }
        // Large values are dropped when others may go on.
        drop(state);
        gone.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        [n; 32]
    }

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let store = Store::new(3 * (ENTRY_BYTES + 100));
        for n in 0..3 {
            assert_eq!(store.put(key(n), n, 100), 0);
        }
        assert_eq!(store.get(&key(0)), Some(0));
        assert_eq!(store.put(key(3), 3, 100), 1);
        assert_eq!([0, 1, 2, 3].map(|n| store.get(&key(n))), [Some(0), None, Some(2), Some(3)]);
        assert_eq!(store.put(key(4), 4, 300), 2, "a large one takes the place of several");
        assert_eq!([0, 2, 3, 4].map(|n| store.get(&key(n)).is_some()), [false, false, true, true]);
    }

    #[test]
    fn it_stays_within_its_bytes() {
        let most = 10_000;
        let store = Store::new(most);
        for n in 0..200 {
            store.put(key(n % 50), n, usize::from(n) * 17 % 3000);
            assert!(store.bytes() <= most);
        }
        assert_eq!(store.put(key(60), 1, most), 0, "what is larger than all is not kept, and sends nothing away");
        assert!(store.bytes() > most / 2 && store.get(&key(60)).is_none());
        let off = Store::new(0);
        off.put(key(1), 1, 0);
        assert!(off.is_off() && off.get(&key(1)).is_none());
    }
}
