//! Sets of rows by the codes of a dictionary column.

use segment::Segment;
use segment::block::BLOCK_ROWS;
use segment::column::{Column, DictColumn};

use super::mask::{self, pack, settle};
use super::{Node, Part, Scratch, Selected, compile};
use crate::error::{Error, Result};

/// Rows of a single-value column whose code is in the set.
pub struct CodesNode {
    column: String,
    set: CodeSet,
}

enum CodeSet {
    /// `low..low + width`.
    Range { low: u32, width: u32 },
    /// By code.
    Table(Vec<bool>),
    /// By code, in words: of many codes, so that they stay in the cache.
    Bits(Vec<u64>),
}

/// Rows of a multi-value column by what a test says of their values.
pub struct ListsNode {
    column: String,
    answers: Answers,
    want: bool,
}

/// What a test says of each value of a dictionary, and of null.
pub struct Answers {
    pub by_code: Vec<Option<bool>>,
    pub null: Option<bool>,
}

/// Up to this many bitmaps are joined whatever they hold.
const FEW_BITMAPS: usize = 4;
/// More than this many are not even counted.
const MANY_BITMAPS: usize = 2048;
/// A table of this many codes takes a bit a code, not a byte.
const TABLE_MAX: usize = 1 << 16;
/// Joining bitmaps beats looking up every row's code while they hold fewer than one row in this many.
const SPARSE: u64 = 16;

/// The rows for which the test answered `want`.
pub fn node(segment: &Segment, name: &str, column: &DictColumn, answers: Answers, want: bool) -> Node {
    let rows = segment.rows();
    if column.is_multi() {
        return lists(rows, name, column, answers, want);
    }
    let table: Vec<bool> = answers.by_code.iter().map(|answer| *answer == Some(want)).collect();
    let inside: Vec<u32> = codes_where(&table, true);
    if inside.is_empty() {
        return Node::None;
    }
    if inside.len() == table.len() {
        return Node::All;
    }
    if let Some(words) = union(column, &inside, rows) {
        return compile::settled(words, rows);
    }
    if table.len() - inside.len() <= MANY_BITMAPS
        && let Some(words) = union(column, &codes_where(&table, false), rows)
    {
        return compile::complement(Node::Words(words), rows);
    }
    let (low, high) = (inside[0], inside[inside.len() - 1]);
    let set = if (high - low) as usize == inside.len() - 1 {
        CodeSet::Range { low, width: high - low + 1 }
    } else if table.len() > TABLE_MAX {
        let mut bits = vec![0; table.len().div_ceil(64)];
        inside.iter().for_each(|code| bits[*code as usize / 64] |= 1 << (code % 64));
        CodeSet::Bits(bits)
    } else {
        CodeSet::Table(table)
    };
    Node::Codes(CodesNode { column: name.to_string(), set })
}

fn lists(rows: usize, name: &str, column: &DictColumn, answers: Answers, want: bool) -> Node {
    let wanted = |answer: &Option<bool>| *answer == Some(want);
    if answers.by_code.iter().all(wanted) && wanted(&answers.null) {
        return Node::All;
    }
    if !answers.by_code.contains(&Some(want)) && !wanted(&answers.null) {
        return Node::None;
    }
    // True if any value is; false if no value is true or unknown. Empty lists are in the null's bitmap, if there is one.
    let decisive: Vec<u32> = codes_where_answer(&answers, |answer| match want {
        true => answer == Some(true),
        false => answer != Some(false),
    });
    let null_decides = if want { answers.null == Some(true) } else { answers.null != Some(false) };
    if (!null_decides || column.null_code().is_some())
        && let Some(words) = union(column, &decisive, rows)
    {
        let node = Node::Words(words);
        return if want { compile::or(vec![node], rows) } else { compile::complement(node, rows) };
    }
    Node::Lists(ListsNode { column: name.to_string(), answers, want })
}

fn codes_where(table: &[bool], wanted: bool) -> Vec<u32> {
    let codes = table.iter().enumerate().filter(|(_, inside)| **inside == wanted);
    codes.map(|(code, _)| code as u32).collect()
}

fn codes_where_answer(answers: &Answers, wanted: impl Fn(Option<bool>) -> bool) -> Vec<u32> {
    let codes = answers.by_code.iter().enumerate().filter(|(_, answer)| wanted(**answer));
    codes.map(|(code, _)| code as u32).collect()
}

/// The rows of all the codes, if the column has an index and joining its bitmaps is the cheapest way.
fn union(column: &DictColumn, codes: &[u32], rows: usize) -> Option<Vec<u64>> {
    if codes.len() > MANY_BITMAPS {
        return None;
    }
    let mut held = 0;
    for (n, code) in codes.iter().enumerate() {
        held += column.bitmap(*code)?.count();
        if n >= FEW_BITMAPS && held > rows as u64 / SPARSE {
            return None;
        }
    }
    let mut words = vec![0; rows.div_ceil(64)];
    for code in codes {
        column.bitmap(*code)?.or_into(&mut words);
    }
    mask::trim(&mut words, rows);
    Some(words)
}

impl CodesNode {
    pub fn select(&self, part: Part, scratch: &mut Scratch, words: &mut [u64]) -> Result<Selected> {
        let column = open(part.segment, &self.column)?;
        scratch.codes.resize(BLOCK_ROWS, 0);
        let codes = &mut scratch.codes[..part.len];
        column.codes(part.start, codes);
        match &self.set {
            CodeSet::Range { low, width } => {
                let (low, width) = (*low, *width);
                pack(words, codes.len(), |i| codes[i].wrapping_sub(low) < width);
            }
            CodeSet::Table(table) => pack(words, codes.len(), |i| table[codes[i] as usize]),
            CodeSet::Bits(bits) => {
                pack(words, codes.len(), |i| bits[codes[i] as usize / 64] >> (codes[i] % 64) & 1 == 1)
            }
        }
        Ok(settle(words, part.len))
    }
}

impl ListsNode {
    pub fn select(&self, part: Part, scratch: &mut Scratch, words: &mut [u64]) -> Result<Selected> {
        let column = open(part.segment, &self.column)?;
        column.lists(part.start, part.len, &mut scratch.offsets, &mut scratch.codes);
        let (offsets, codes) = (&scratch.offsets, &scratch.codes);
        pack(words, part.len, |row| {
            let list = &codes[offsets[row] as usize..offsets[row + 1] as usize];
            self.answers.of_list(list) == Some(self.want)
        });
        Ok(settle(words, part.len))
    }
}

impl Answers {
    /// True if any value is, else unknown if any is unknown.
    fn of_list(&self, list: &[u32]) -> Option<bool> {
        if list.is_empty() {
            return self.null;
        }
        let mut answer = Some(false);
        for code in list {
            match self.by_code[*code as usize] {
                Some(true) => return Some(true),
                Some(false) => {}
                None => answer = None,
            }
        }
        answer
    }
}

fn open<'a>(segment: &'a Segment, name: &str) -> Result<&'a DictColumn> {
    match segment.column(name)? {
        Some(Column::Dict(column)) => Ok(column),
        Some(Column::Document(column)) => Ok(column.texts()),
        _ => Err(Error::Bug(format!("column {name} had a dictionary when the filter was compiled"))),
    }
}
