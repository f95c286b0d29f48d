//! Exact numbers of distinct values, of ids that the caller gives to values.
//!
//! If the caller bounds the ids and the bitsets of all groups stay small, a group's set is a bitset; else one hash set
//! of (group, id) serves all groups.

use std::any::Any;

use std::sync::OnceLock;

use hashbrown::HashTable;

use super::{Accumulator, Groups, Sent, Values, for_each_group, same, sent, to_send};
use crate::block::Block;

/// Bytes that the bitsets of all groups may take before they become a hash set.
const BITS_MAX: usize = 64 << 20;

#[derive(Default)]
pub struct Distinct {
    groups: usize,
    below: Option<u64>,
    sets: Sets,
    /// All (group, id) of a hash set in order, once they are asked for group by group.
    sorted: OnceLock<Vec<(u32, u64)>>,
}

enum Sets {
    /// A bitset per group, empty until the group's first value.
    Bits(Vec<Vec<u64>>),
    Hash {
        entries: HashTable<(u32, u64)>,
        counts: Vec<i64>,
    },
}

impl Default for Sets {
    fn default() -> Sets {
        Sets::Hash { entries: HashTable::new(), counts: Vec::new() }
    }
}

fn hash(group: u32, id: u64) -> u64 {
    let product = (id ^ ((group as u64) << 32 | group as u64)) as u128 * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    (product >> 64) as u64 ^ product as u64
}

impl Distinct {
    fn words(&self) -> usize {
        self.below.map_or(0, |below| below.div_ceil(64) as usize)
    }

    fn put(&mut self, group: usize, id: u64) {
        let words = self.words();
        match &mut self.sets {
            Sets::Bits(sets) => {
                let set = &mut sets[group];
                if set.is_empty() {
                    set.resize(words, 0);
                }
                set[(id / 64) as usize] |= 1 << (id % 64);
            }
            Sets::Hash { entries, counts } => {
                let key = (group as u32, id);
                let found = entries.entry(hash(key.0, key.1), |e| *e == key, |e| hash(e.0, e.1));
                if let hashbrown::hash_table::Entry::Vacant(vacant) = found {
                    vacant.insert(key);
                    counts[group] += 1;
                }
            }
        }
    }

    fn become_hash(&mut self) {
        let Sets::Bits(sets) = &mut self.sets else { return };
        let sets = std::mem::take(sets);
        self.sets = Sets::Hash { entries: HashTable::new(), counts: vec![0; self.groups] };
        for (group, set) in sets.iter().enumerate() {
            bits(set).for_each(|id| self.put(group, id));
        }
    }
}

fn bits(set: &[u64]) -> impl Iterator<Item = u64> + '_ {
    set.iter().enumerate().flat_map(|(idx, word)| {
        let mut word = *word;
        std::iter::from_fn(move || {
            (word != 0).then(|| {
                let bit = word.trailing_zeros() as u64;
                word &= word - 1;
                idx as u64 * 64 + bit
            })
        })
    })
}

impl Accumulator for Distinct {
    fn resize(&mut self, groups: usize) {
        if groups <= self.groups {
            return;
        }
        self.groups = groups;
        if matches!(self.sets, Sets::Bits(_)) && groups * self.words() * 8 > BITS_MAX {
            self.become_hash();
        }
        match &mut self.sets {
            Sets::Bits(sets) => sets.resize(groups, Vec::new()),
            Sets::Hash { counts, .. } => counts.resize(groups, 0),
        }
    }

    fn fold(&mut self, rows: usize, groups: Groups<'_>, inputs: &[Values<'_>]) {
        self.sorted.take();
        if let (Groups::One(group), Values::Longs { values, nulls: None }, Sets::Bits(sets)) =
            (groups, inputs[0], &mut self.sets)
        {
            let set = &mut sets[group as usize];
            if set.is_empty() {
                set.resize(self.below.unwrap_or(0).div_ceil(64) as usize, 0);
            }
            values.iter().for_each(|id| set[(*id as u64 / 64) as usize] |= 1 << (*id as u64 % 64));
            return;
        }
        for_each_group(rows, groups, |row, group| {
            if let Some(id) = inputs[0].long(row) {
                self.put(group, id as u64);
            }
        });
    }

    fn merge(&mut self, map: &[u32], other: &dyn Accumulator) {
        self.sorted.take();
        let other = same::<Distinct>(other);
        match &other.sets {
            Sets::Bits(sets) => {
                for (set, to) in sets.iter().zip(map) {
                    if let Sets::Bits(mine) = &mut self.sets {
                        let mine = &mut mine[*to as usize];
                        mine.resize(set.len().max(mine.len()), 0);
                        mine.iter_mut().zip(set).for_each(|(a, b)| *a |= b);
                    } else {
                        bits(set).for_each(|id| self.put(*to as usize, id));
                    }
                }
            }
            Sets::Hash { entries, .. } => {
                self.become_hash();
                entries.iter().for_each(|(group, id)| self.put(map[*group as usize] as usize, *id));
            }
        }
    }

    fn finish(&self, groups: &[u32]) -> Block {
        let count = |group: &u32| match &self.sets {
            Sets::Bits(sets) => sets[*group as usize].iter().map(|w| w.count_ones() as i64).sum(),
            Sets::Hash { counts, .. } => counts[*group as usize],
        };
        Block::Long { values: groups.iter().map(count).collect(), nulls: None }
    }

    fn state(&self, groups: &[u32]) -> Block {
        let bytes = |ids: &mut dyn Iterator<Item = u64>| {
            let bytes: Vec<u8> = ids.flat_map(u64::to_le_bytes).collect();
            (!bytes.is_empty()).then_some(Ok(bytes))
        };
        match &self.sets {
            Sets::Bits(sets) => to_send(groups.iter().map(|g| bytes(&mut bits(&sets[*g as usize])))),
            Sets::Hash { entries, .. } => {
                let sorted = self.sorted.get_or_init(|| {
                    let mut all: Vec<(u32, u64)> = entries.iter().copied().collect();
                    all.sort_unstable();
                    all
                });
                to_send(groups.iter().map(|g| {
                    let from = sorted.partition_point(|(group, _)| group < g);
                    bytes(&mut sorted[from..].iter().take_while(|(group, _)| group == g).map(|(_, id)| *id))
                }))
            }
        }
    }

    fn absorb(&mut self, groups: &[u32], states: &Block) -> Result<(), String> {
        self.sorted.take();
        for (group, state) in sent(groups, states)? {
            let Sent::State(bytes) = state else { return Err("a set of ids was refused".into()) };
            let (ids, rest) = bytes.as_chunks::<8>();
            let below = if matches!(self.sets, Sets::Bits(_)) { self.below.unwrap_or(0) } else { u64::MAX };
            if !rest.is_empty() || ids.iter().any(|id| u64::from_le_bytes(*id) >= below && below < u64::MAX) {
                return Err("a state is no set of ids".into());
            }
            ids.iter().for_each(|id| self.put(group, u64::from_le_bytes(*id)));
        }
        Ok(())
    }

    fn fresh(&self) -> Box<dyn Accumulator> {
        let mut fresh = Distinct::default();
        if let Some(below) = self.below {
            fresh.ids_below(below);
        }
        Box::new(fresh)
    }

    fn bytes(&self) -> usize {
        match &self.sets {
            Sets::Bits(sets) => sets.len() * (24 + self.words() * 8),
            Sets::Hash { entries, counts } => {
                let sorted = self.sorted.get().map_or(0, Vec::capacity);
                (entries.capacity() + sorted) * 17 + counts.capacity() * 8
            }
        }
    }

    fn ids_below(&mut self, below: u64) {
        if self.groups == 0 && below.div_ceil(8) <= BITS_MAX as u64 {
            self.below = Some(below);
            self.sets = Sets::Bits(Vec::new());
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
