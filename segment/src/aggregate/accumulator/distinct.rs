//! Exact numbers of distinct values, of ids that the caller gives to values.
//!
//! If the caller bounds the ids and the bitsets of all groups stay small, a group's set is a bitset; else one hash set
//! of (group, id) serves all groups.

use std::any::Any;

use hashbrown::HashTable;

use super::{Accumulator, Groups, Values, for_each_group, same};
use crate::block::Block;

/// Bytes that the bitsets of all groups may take before they become a hash set.
const BITS_MAX: usize = 64 << 20;

#[derive(Default)]
pub struct Distinct {
    groups: usize,
    below: Option<u64>,
    sets: Sets,
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
            Sets::Hash { entries, counts } => entries.capacity() * 17 + counts.capacity() * 8,
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
