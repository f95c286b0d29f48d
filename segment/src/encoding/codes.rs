//! Dictionary codes of rows, in blocks of [`BLOCK_ROWS`].
//!
//! A block is bit-packed above its smallest code, or kept as runs where rows repeat. The directory stands behind the
//! blocks, so that a writer needs no more memory than a block.

use bytes::Bytes;

use super::bitpack::{GROUP, get32, group_bytes, pack32, unpack32, width_of};
use super::{Fields, u16_at, u32_at};
use crate::block::BLOCK_ROWS;

/// Bytes of a directory entry: offset u64, base u32, runs u16 (0: packed), width u8, zero u8.
const ENTRY: usize = 16;

/// Encodes block after block; the last may be short.
#[derive(Default)]
pub struct CodesWriter {
    directory: Vec<u8>,
    written: u64,
}

impl CodesWriter {
    /// Appends the block's bytes to `out`.
    pub fn block(&mut self, codes: &[u32], out: &mut Vec<u8>) {
        assert!((1..=BLOCK_ROWS).contains(&codes.len()), "a block of no or too many codes");
        let from = out.len();
        let (min, max) = codes.iter().fold((u32::MAX, 0), |(lo, hi), c| (lo.min(*c), hi.max(*c)));
        let width = width_of(u64::from(max - min));
        let runs = 1 + codes.windows(2).filter(|w| w[0] != w[1]).count();
        let packed = codes.len().div_ceil(GROUP) * group_bytes(width);
        let as_runs = width > 0 && runs * 6 * 2 <= packed;
        if as_runs {
            let ends = (1..=codes.len()).filter(|i| *i == codes.len() || codes[*i] != codes[i - 1]);
            let ends: Vec<usize> = ends.collect();
            ends.iter().for_each(|end| out.extend_from_slice(&(*end as u16).to_le_bytes()));
            ends.iter().for_each(|end| out.extend_from_slice(&codes[end - 1].to_le_bytes()));
        } else if width > 0 {
            let mut above = [0u32; GROUP];
            for group in codes.chunks(GROUP) {
                above.iter_mut().zip(group).for_each(|(a, c)| *a = c - min);
                pack32(&above[..group.len()], width, out);
            }
        }
        self.directory.extend_from_slice(&self.written.to_le_bytes());
        self.directory.extend_from_slice(&min.to_le_bytes());
        self.directory.extend_from_slice(&(if as_runs { runs as u16 } else { 0 }).to_le_bytes());
        self.directory.extend_from_slice(&[width as u8, 0]);
        self.written += (out.len() - from) as u64;
    }

    /// Appends the directory.
    pub fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.directory);
    }
}

/// A run of codes read in place. What it answers is never above `max`, whatever the bytes are.
pub struct Codes {
    bytes: Bytes,
    rows: usize,
    max: u32,
    blocks: Vec<CodeBlock>,
}

struct CodeBlock {
    offset: usize,
    base: u32,
    runs: u16,
    width: u8,
}

impl Codes {
    /// `None` if the bytes cannot be the codes of so many rows.
    pub fn open(bytes: Bytes, rows: usize, max: u32) -> Option<Codes> {
        let count = rows.div_ceil(BLOCK_ROWS);
        let payload = bytes.len().checked_sub(count.checked_mul(ENTRY)?)?;
        let mut fields = Fields(&bytes[payload..]);
        let mut blocks = Vec::with_capacity(count);
        for i in 0..count {
            let offset = usize::try_from(fields.u64()?).ok()?;
            let base = fields.u32()?;
            let shape = fields.u32()?;
            let (runs, width) = (shape as u16, (shape >> 16) as u8);
            let rows = BLOCK_ROWS.min(rows - i * BLOCK_ROWS);
            if width > 32 || runs as usize > rows {
                return None;
            }
            let len = match runs {
                0 => rows.div_ceil(GROUP) * group_bytes(u32::from(width)),
                runs => runs as usize * 6,
            };
            if offset.checked_add(len)? > payload {
                return None;
            }
            blocks.push(CodeBlock { offset, base, runs, width });
        }
        Some(Codes { bytes, rows, max, blocks })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Codes from row `start` on, as many as `out` is long.
    pub fn decode(&self, start: usize, out: &mut [u32]) {
        assert!(start + out.len() <= self.rows, "codes past the last row");
        let (mut row, mut out) = (start, out);
        while !out.is_empty() {
            let (block, from) = (&self.blocks[row / BLOCK_ROWS], row % BLOCK_ROWS);
            let len = if block.runs > 0 {
                let len = (BLOCK_ROWS - from).min(out.len());
                self.runs(block, from, &mut out[..len]);
                len
            } else {
                let input = self.group(block, from / GROUP);
                let within = from % GROUP;
                let len = (GROUP - within).min(out.len());
                let (width, base, max) = (u32::from(block.width), block.base, self.max);
                if len == GROUP {
                    let out = (&mut out[..GROUP]).try_into().expect("a group's length");
                    unpack32(input, width, base, max, out);
                } else if len <= 16 {
                    let one = |i| base.wrapping_add(get32(input, width, i)).min(max);
                    out[..len].iter_mut().enumerate().for_each(|(i, o)| *o = one(within + i));
                } else {
                    let mut group = [0; GROUP];
                    unpack32(input, width, base, max, &mut group);
                    out[..len].copy_from_slice(&group[within..within + len]);
                }
                len
            };
            (row, out) = (row + len, &mut out[len..]);
        }
    }

    /// The code of one row.
    #[inline]
    pub fn at(&self, row: usize) -> u32 {
        assert!(row < self.rows, "a code past the last row");
        let (block, from) = (&self.blocks[row / BLOCK_ROWS], row % BLOCK_ROWS);
        if block.runs > 0 {
            let mut one = [0];
            self.runs(block, from, &mut one);
            return one[0];
        }
        let bits = get32(self.group(block, from / GROUP), u32::from(block.width), from % GROUP);
        block.base.wrapping_add(bits).min(self.max)
    }

    fn group(&self, block: &CodeBlock, group: usize) -> &[u8] {
        let len = group_bytes(u32::from(block.width));
        &self.bytes[block.offset + group * len..][..len]
    }

    fn runs(&self, block: &CodeBlock, from: usize, out: &mut [u32]) {
        let runs = block.runs as usize;
        let ends = &self.bytes[block.offset..][..runs * 2];
        let codes = &self.bytes[block.offset + runs * 2..][..runs * 4];
        let (mut low, mut high) = (0, runs);
        while low < high {
            let middle = (low + high) / 2;
            if u16_at(ends, middle * 2) as usize <= from { low = middle + 1 } else { high = middle }
        }
        let mut done = 0;
        for run in low..runs {
            let end = (u16_at(ends, run * 2) as usize).saturating_sub(from).clamp(done, out.len());
            out[done..end].fill(u32_at(codes, run * 4).min(self.max));
            done = end;
            if done == out.len() {
                return;
            }
        }
        out[done..].fill(0);
    }
}
