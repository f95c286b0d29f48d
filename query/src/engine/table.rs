//! From key ids to group numbers.
//!
//! A [`Layout`] is chosen once per query from the sizes of the key spaces:
//!
//! - one group, if there is no key;
//! - dense, if the product of the sizes is small: the ids are fused into one number, which indexes an array of groups;
//! - packed, if the ids fit into one word: a hash table from word to group;
//! - words, else: a hash table of rows of words, one a key and one for the nulls of wide keys.
//!
//! Groups are numbered as they come. Two tables of one layout are merged by inserting the keys of one into the other.

use hashbrown::HashTable;

use super::keys::{Ids, Shape};

const UNASSIGNED: u32 = u32::MAX;

#[derive(Debug, Clone, PartialEq)]
pub enum Layout {
    Single,
    Dense {
        sizes: Vec<u64>,
        total: usize,
    },
    Packed {
        bits: Vec<u32>,
    },
    /// `wide` tells which keys are whole words with a null apart.
    Words {
        wide: Vec<bool>,
    },
}

/// What is known of a key before the first row.
#[derive(Debug, Clone, Copy)]
pub struct KeySize {
    /// Ids are below this.
    pub below: Option<u64>,
    /// Values are whole words.
    pub wide: bool,
    /// A wide key may be null.
    pub nulls: bool,
}

impl Layout {
    /// `rows` is how many rows there are at most.
    pub fn choose(keys: &[KeySize], rows: usize) -> Layout {
        if keys.is_empty() {
            return Layout::Single;
        }
        let total = keys.iter().try_fold(1u64, |total, key| total.checked_mul(key.below?.max(1)));
        // An array that is far larger than the data costs more to clear than hashing does.
        let dense_max = (rows as u64).saturating_mul(2).clamp(1 << 16, 1 << 24);
        if let Some(total) = total
            && total <= dense_max
        {
            let sizes = keys.iter().map(|key| key.below.unwrap_or(1).max(1)).collect();
            return Layout::Dense { sizes, total: total as usize };
        }
        let bits: Vec<u32> = keys
            .iter()
            .map(|key| match key.below {
                _ if key.wide => 64 + key.nulls as u32,
                Some(below) => 64 - below.saturating_sub(1).leading_zeros(),
                None => 32,
            })
            .collect();
        if bits.iter().sum::<u32>() <= 64 {
            return Layout::Packed { bits };
        }
        Layout::Words { wide: keys.iter().map(|key| key.wide).collect() }
    }

    /// Words of a group's key.
    fn width(&self) -> usize {
        match self {
            Layout::Single => 0,
            Layout::Dense { .. } | Layout::Packed { .. } => 1,
            Layout::Words { wide } => wide.len() + 1,
        }
    }
}

pub struct GroupTable {
    layout: Layout,
    groups: usize,
    /// The key words of each group.
    keys: Vec<u64>,
    dense: Vec<u32>,
    packed: HashTable<(u64, u32)>,
    words: HashTable<u32>,
    fused: Vec<u64>,
}

#[inline(always)]
fn mix(word: u64) -> u64 {
    let product = (word ^ 0x9e37_79b9_7f4a_7c15) as u128 * 0xd6e8_feb8_6659_fd93_u128;
    (product >> 64) as u64 ^ product as u64
}

fn mix_all(words: &[u64]) -> u64 {
    words.iter().fold(0, |hash, word| mix(hash.rotate_left(23) ^ *word))
}

impl GroupTable {
    pub fn new(layout: Layout) -> GroupTable {
        let dense = match &layout {
            Layout::Dense { total, .. } => vec![UNASSIGNED; *total],
            _ => Vec::new(),
        };
        GroupTable {
            groups: usize::from(layout == Layout::Single),
            layout,
            keys: Vec::new(),
            dense,
            packed: HashTable::new(),
            words: HashTable::new(),
            fused: Vec::new(),
        }
    }

    pub fn groups(&self) -> usize {
        self.groups
    }

    pub fn bytes(&self) -> usize {
        self.keys.capacity() * 8 + self.dense.capacity() * 4 + self.packed.capacity() * 18 + self.words.capacity() * 6
    }

    /// The id of a key of a group; `None` is the null of a wide key.
    pub fn id(&self, group: u32, key: usize) -> Option<u64> {
        let group = group as usize;
        match &self.layout {
            Layout::Single => None,
            Layout::Dense { sizes, .. } => {
                let stride: u64 = sizes[..key].iter().product();
                Some(self.keys[group] / stride % sizes[key])
            }
            Layout::Packed { bits } => {
                let shift: u32 = bits[..key].iter().sum();
                let word = if shift == 64 { 0 } else { self.keys[group] >> shift };
                Some(if bits[key] == 64 { word } else { word & ((1 << bits[key]) - 1) })
            }
            Layout::Words { wide } => {
                let words = &self.keys[group * (wide.len() + 1)..][..wide.len() + 1];
                (words[wide.len()] >> key & 1 == 0).then(|| words[key])
            }
        }
    }

    /// The group of each row, given the ids of its keys. Ids of one shape only, of `rows` rows each.
    pub fn assign(&mut self, ids: &[Ids], rows: usize, groups: &mut Vec<u32>) {
        groups.clear();
        match &self.layout {
            Layout::Single => groups.resize(rows, 0),
            Layout::Dense { sizes, .. } => {
                let fused = &mut self.fused;
                if let ([only], Shape::Each) = (ids, &ids[0].shape) {
                    // One key: its ids are the places in the array.
                    let (dense, keys, count) = (&mut self.dense[..], &mut self.keys, &mut self.groups);
                    groups.extend(only.ids.iter().map(|id| {
                        let group = &mut dense[*id as usize];
                        if *group == UNASSIGNED {
                            *group = *count as u32;
                            *count += 1;
                            keys.push(*id as u64);
                        }
                        *group
                    }));
                    return;
                }
                fused.clear();
                fused.resize(rows, 0);
                let mut stride = 1;
                for (key, size) in ids.iter().zip(sizes) {
                    key.add_to(fused, |id| id as u64 * stride);
                    stride *= size;
                }
                let (dense, keys, count) = (&mut self.dense[..], &mut self.keys, &mut self.groups);
                groups.extend(fused.iter().map(|place| {
                    let group = &mut dense[*place as usize];
                    if *group == UNASSIGNED {
                        *group = *count as u32;
                        *count += 1;
                        keys.push(*place);
                    }
                    *group
                }));
            }
            Layout::Packed { bits } => {
                let fused = &mut self.fused;
                fused.clear();
                fused.resize(rows, 0);
                let mut shift = 0;
                for (key, bits) in ids.iter().zip(bits) {
                    key.add_to_wide(fused, |id| id << shift);
                    shift += bits;
                }
                let (packed, keys, count) = (&mut self.packed, &mut self.keys, &mut self.groups);
                groups.extend(fused.iter().map(|word| put_packed(packed, keys, count, *word)));
            }
            Layout::Words { wide } => {
                let width = wide.len() + 1;
                let fused = &mut self.fused;
                fused.clear();
                fused.resize(rows * width, 0);
                for (key, ids) in ids.iter().enumerate() {
                    ids.scatter(fused, width, key);
                }
                let (table, keys, count) = (&mut self.words, &mut self.keys, &mut self.groups);
                groups.extend(fused.chunks_exact(width).map(|words| put_words(table, keys, count, words)));
            }
        }
    }

    /// The group of one row, given the ids of its keys; `None` is the null of a wide key.
    pub fn group(&mut self, ids: &[Option<u64>]) -> u32 {
        let id = |key: usize| ids[key].unwrap_or(0);
        let words: Vec<u64> = match &self.layout {
            Layout::Single => return 0,
            Layout::Dense { sizes, .. } => {
                let mut stride = 1;
                let mut place = 0;
                for (key, size) in sizes.iter().enumerate() {
                    place += id(key) * stride;
                    stride *= size;
                }
                vec![place]
            }
            Layout::Packed { bits } => {
                let mut shift = 0;
                let mut word = 0;
                for (key, bits) in bits.iter().enumerate() {
                    word |= id(key) << shift;
                    shift += bits;
                }
                vec![word]
            }
            Layout::Words { wide } => {
                let nulls = (0..wide.len()).fold(0, |nulls, key| nulls | (ids[key].is_none() as u64) << key);
                (0..wide.len()).map(id).chain([nulls]).collect()
            }
        };
        self.put(&words)
    }

    fn put(&mut self, words: &[u64]) -> u32 {
        match &self.layout {
            Layout::Single => 0,
            Layout::Dense { .. } => {
                let group = &mut self.dense[words[0] as usize];
                if *group == UNASSIGNED {
                    *group = self.groups as u32;
                    self.groups += 1;
                    self.keys.push(words[0]);
                }
                *group
            }
            Layout::Packed { .. } => put_packed(&mut self.packed, &mut self.keys, &mut self.groups, words[0]),
            Layout::Words { .. } => put_words(&mut self.words, &mut self.keys, &mut self.groups, words),
        }
    }

    /// Inserts the groups of another table of the same layout. Returns where each of them is here.
    pub fn absorb(&mut self, other: &GroupTable) -> Vec<u32> {
        assert_eq!(self.layout, other.layout, "only tables of one query are merged");
        match self.layout.width() {
            0 => vec![0],
            width => other.keys.chunks_exact(width).map(|words| self.put(words)).collect(),
        }
    }
}

fn put_packed(table: &mut HashTable<(u64, u32)>, keys: &mut Vec<u64>, count: &mut usize, word: u64) -> u32 {
    match table.entry(mix(word), |entry| entry.0 == word, |entry| mix(entry.0)) {
        hashbrown::hash_table::Entry::Occupied(entry) => entry.get().1,
        hashbrown::hash_table::Entry::Vacant(entry) => {
            let group = *count as u32;
            *count += 1;
            keys.push(word);
            entry.insert((word, group));
            group
        }
    }
}

fn put_words(table: &mut HashTable<u32>, keys: &mut Vec<u64>, count: &mut usize, words: &[u64]) -> u32 {
    let width = words.len();
    let at = |group: u32| &keys[group as usize * width..][..width];
    match table.entry(mix_all(words), |group| at(*group) == words, |group| mix_all(at(*group))) {
        hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
        hashbrown::hash_table::Entry::Vacant(entry) => {
            let group = *count as u32;
            *count += 1;
            entry.insert(group);
            keys.extend_from_slice(words);
            group
        }
    }
}
