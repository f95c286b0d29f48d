//! Which rows of a segment a filter lets through, as bitsets, a block at a time.
//!
//! 1. The filter is turned into *nodes*, each the exact set of rows where some part of it is true (or, below a `not`,
//!    where it is false): `not` is pushed down to the leaves, so that unknown never becomes true.
//! 2. A leaf over a dictionary is settled once for each distinct value; few values become a union of the index's
//!    bitmaps, many a table that codes are looked up in. A leaf over numbers becomes a range where it is one, and
//!    blocks whose bounds decide are not decoded. Everything else is evaluated row by row.
//! 3. `select` evaluates the nodes for one block, cheapest first, and stops as soon as the answer is known.

use std::ops::Range;
use std::sync::Arc;

use segment::block::BLOCK_ROWS;
use segment::filter::Filter;
use segment::{Interval, Segment};

use crate::columns::Columns;
use crate::error::Result;

mod codes;
mod compile;
mod contradiction;
mod leaf;
mod mask;
mod numbers;
mod rows;
mod time;

use codes::{CodesNode, ListsNode};
use mask::{Mask, fill, settle};
use numbers::NumbersNode;
use rows::RowsNode;

/// A filter made ready for one segment. Threads share it.
pub struct Selector {
    segment: Arc<Segment>,
    node: Node,
    range: Range<usize>,
}

/// Memory of one thread's selecting, reused from block to block.
#[derive(Default)]
pub struct Scratch {
    codes: Vec<u32>,
    offsets: Vec<u32>,
    longs: Vec<i64>,
    doubles: Vec<f64>,
    nulls: Vec<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected {
    None,
    All,
    /// Those whose bits are set: at least one is and at least one is not.
    Some,
}

/// A set of rows.
pub(crate) enum Node {
    None,
    All,
    /// One that others select by as well.
    Shared(Arc<Node>),
    /// Settled for the whole segment.
    Words(Vec<u64>),
    Numbers(NumbersNode),
    Codes(CodesNode),
    Lists(ListsNode),
    Rows(Box<RowsNode>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Complement(Box<Node>),
}

/// The rows a node is asked about.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    segment: &'a Segment,
    start: usize,
    len: usize,
}

impl Selector {
    /// Compiles a filter: dictionary values are tested here, once each. `intervals` are sorted and do not overlap. Rows that
    /// the columns do not show are never selected.
    pub fn new(columns: &Columns, filter: Option<&Filter>, intervals: &[Interval]) -> Result<Selector> {
        let segment = columns.segment().clone();
        let (mut range, within) = time::narrow(&segment, intervals)?;
        let mut node = Node::All;
        if !range.is_empty() {
            if let Some(filter) = filter {
                node = match contradiction::contradict(columns, filter)? {
                    true => Node::None,
                    false => compile::Compiler { columns }.node(filter, true)?,
                };
            }
            let shown = match columns.seen().map(|seen| &seen.node) {
                None => Node::All,
                Some(node) => match &**node {
                    Node::All => Node::All,
                    Node::None => Node::None,
                    _ => Node::Shared(node.clone()),
                },
            };
            node = compile::and(vec![node, within, shown], segment.rows());
            range = time::tighten(&segment, &mut node, range)?;
            if let Some(seen) = columns.seen() {
                range = range.start.max(seen.range.start)..range.end.min(seen.range.end);
            }
        }
        if range.is_empty() || matches!(node, Node::None) {
            range = 0..0;
        }
        Ok(Selector { segment, node, range })
    }

    /// Only the rows that meet a filter, whether they are shown or not: for a further look at rows that a selector of
    /// [`Selector::new`] let through.
    pub fn of_filter(columns: &Columns, filter: &Filter) -> Result<Selector> {
        let segment = columns.segment().clone();
        let node = compile::Compiler { columns }.node(filter, true)?;
        let range = 0..segment.rows();
        Ok(Selector { segment, node, range })
    }

    /// Of rows that are settled.
    pub(crate) fn of_node(segment: Arc<Segment>, node: Arc<Node>, range: Range<usize>) -> Selector {
        Selector { segment, node: Node::Shared(node), range }
    }

    /// The same rows as bits, so that nothing is tested to select them again. `check` is asked once a block whether to go on.
    pub(crate) fn settled(self, check: &dyn Fn() -> Result<()>) -> Result<Selector> {
        if matches!(self.node, Node::None | Node::All | Node::Words(_)) {
            return Ok(self);
        }
        let mut all = vec![0; self.rows().div_ceil(64)];
        let mut scratch = Scratch::default();
        for (start, len) in self.blocks() {
            check()?;
            let words = &mut all[start / 64..(start + len).div_ceil(64)];
            match self.select(start, len, &mut scratch, words)? {
                Selected::None => words.fill(0),
                Selected::All => fill(words, len),
                Selected::Some => {}
            }
        }
        let node = compile::settled(all, self.rows());
        let range = if matches!(node, Node::None) { 0..0 } else { self.range };
        Ok(Selector { node, range, ..self })
    }

    pub(crate) fn into_parts(self) -> (Node, Range<usize>) {
        (self.node, self.range)
    }

    /// The blocks that hold the range, as starts and lengths.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> + use<> {
        let (range, rows) = (self.range(), self.rows());
        let blocks = if range.is_empty() { 0..0 } else { range.start / BLOCK_ROWS..range.end.div_ceil(BLOCK_ROWS) };
        blocks.map(move |block| {
            let start = block * BLOCK_ROWS;
            (start, BLOCK_ROWS.min(rows - start))
        })
    }

    /// The selected rows among `len` from `start`, counted from `start`.
    pub fn rows_of(&self, start: usize, len: usize, scratch: &mut Scratch) -> Result<Vec<usize>> {
        let mut words = [0; BLOCK_ROWS / 64];
        Ok(match self.select(start, len, scratch, &mut words)? {
            Selected::None => Vec::new(),
            Selected::All => (0..len).collect(),
            Selected::Some => (0..len).filter(|row| words[row / 64] >> (row % 64) & 1 == 1).collect(),
        })
    }

    /// Rows outside are never selected. Empty if the segment has nothing to give.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Rows of the segment.
    pub fn rows(&self) -> usize {
        self.segment.rows()
    }

    /// Whether every row of the range is selected, as far as is known without looking.
    pub fn is_all(&self) -> bool {
        matches!(self.node, Node::All)
    }

    /// Selects among `len` rows (at most `BLOCK_ROWS`) from `start` (a multiple of 64). With `Some`, bit `r % 64` of
    /// `words[r / 64]` tells of row `start + r`; bits past `len` are 0. With `None` and `All`, `words` is unspecified.
    pub fn select(&self, start: usize, len: usize, scratch: &mut Scratch, words: &mut [u64]) -> Result<Selected> {
        debug_assert!(start.is_multiple_of(64) && len <= BLOCK_ROWS && start + len <= self.segment.rows());
        let from = self.range.start.max(start);
        let to = self.range.end.min(start + len);
        if from >= to {
            return Ok(Selected::None);
        }
        let part = Part { segment: &self.segment, start, len };
        let selected = self.node.select(part, scratch, words)?;
        Ok(selected.within(words, len, from - start..to - start))
    }
}

impl Selected {
    /// Of so many rows of which `words` tells, no others than those of a range.
    pub(crate) fn within(self, words: &mut [u64], len: usize, range: Range<usize>) -> Selected {
        if self == Selected::None || range == (0..len) {
            return self;
        }
        let words = &mut words[..len.div_ceil(64)];
        if self == Selected::All {
            fill(words, len);
        }
        mask::keep(words, range.start, range.end);
        settle(words, len)
    }
}

impl Node {
    /// Memory of what is settled; other nodes hold little, or are not kept.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Node::Words(words) => words.capacity() * size_of::<u64>(),
            _ => 0,
        }
    }

    fn select(&self, part: Part, scratch: &mut Scratch, words: &mut [u64]) -> Result<Selected> {
        let words = &mut words[..part.len.div_ceil(64)];
        match self {
            Node::None => Ok(Selected::None),
            Node::All => Ok(Selected::All),
            Node::Shared(node) => node.select(part, scratch, words),
            Node::Words(all) => {
                let from = part.start / 64;
                words.copy_from_slice(&all[from..from + words.len()]);
                mask::trim(words, part.len);
                Ok(settle(words, part.len))
            }
            Node::Numbers(node) => node.select(part, scratch, words),
            Node::Codes(node) => node.select(part, scratch, words),
            Node::Lists(node) => node.select(part, scratch, words),
            Node::Rows(node) => node.select(part, words),
            Node::And(nodes) => {
                let mut so_far = Selected::All;
                let mut other: Mask = [0; BLOCK_ROWS / 64];
                for node in nodes {
                    if so_far == Selected::All {
                        so_far = node.select(part, scratch, words)?;
                    } else {
                        match node.select(part, scratch, &mut other)? {
                            Selected::All => {}
                            Selected::None => so_far = Selected::None,
                            Selected::Some => {
                                words.iter_mut().zip(&other).for_each(|(w, o)| *w &= o);
                                so_far = settle(words, part.len);
                            }
                        }
                    }
                    if so_far == Selected::None {
                        break;
                    }
                }
                Ok(so_far)
            }
            Node::Or(nodes) => {
                let mut so_far = Selected::None;
                let mut other: Mask = [0; BLOCK_ROWS / 64];
                for node in nodes {
                    if so_far == Selected::None {
                        so_far = node.select(part, scratch, words)?;
                    } else {
                        match node.select(part, scratch, &mut other)? {
                            Selected::None => {}
                            Selected::All => so_far = Selected::All,
                            Selected::Some => {
                                words.iter_mut().zip(&other).for_each(|(w, o)| *w |= o);
                                so_far = settle(words, part.len);
                            }
                        }
                    }
                    if so_far == Selected::All {
                        break;
                    }
                }
                Ok(so_far)
            }
            Node::Complement(node) => Ok(match node.select(part, scratch, words)? {
                Selected::None => Selected::All,
                Selected::All => Selected::None,
                Selected::Some => {
                    words.iter_mut().for_each(|w| *w = !*w);
                    mask::trim(words, part.len);
                    Selected::Some
                }
            }),
        }
    }
}
