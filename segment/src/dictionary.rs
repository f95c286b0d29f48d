//! Sorted string dictionaries of files.
//!
//! 1. Values stand in ascending order of their bytes; a value's place is its number.
//! 2. They are cut into blocks of about 16 KiB of text. The first value of each block, its *head*, is kept whole in the
//!    directory, so that a search opens one block.
//! 3. Within a block each value is the length it shares with its predecessor, the length of what follows, and what
//!    follows; all lengths stand after all text. The block is compressed if that pays.
//! 4. A block is decoded when one of its values is first asked for, and stays decoded. [`Dictionary::scan`] walks all
//!    values through contiguous text without keeping it.
//!
//! The directory is checked when the dictionary is opened. Blocks are not: what protects them is the checksum of their
//! section. A block that is damaged all the same reads as empty strings.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::encoding::Fields;
use crate::error::{Error, Result};

/// A block is closed when it holds this much text or so many values.
const BLOCK_TEXT: usize = 16 * 1024;
const BLOCK_VALUES: usize = 4096;
/// Blocks that would shrink more than this are stored as they are, so that a reader can refuse absurd lengths.
const RATIO_MAX: usize = 1024;
/// Bytes of a directory entry: offset u64, first u32, stored u32, raw u32, raw text u32, text u32, head end u32,
/// codec u32, zero u32.
const ENTRY: usize = 40;
/// Pieces of text are copied so many bytes at a time.
const PIECE: usize = 32;
/// Bytes behind the directory: values u32, blocks u32, head bytes u64.
const TRAILER: usize = 16;

const STORED: u32 = 0;
const ZSTD: u32 = 1;
const ZSTD_LEVEL: i32 = 3;

/// Writes values in ascending order, holding one block of them.
pub struct DictionaryWriter {
    compressor: zstd::bulk::Compressor<'static>,
    text: Vec<u8>,
    lengths: Vec<u8>,
    /// Length of the block's text with prefixes.
    block_text: usize,
    block_values: usize,
    last: String,
    heads: String,
    directory: Vec<u8>,
    blocks: u32,
    count: u32,
    written: u64,
}

impl DictionaryWriter {
    pub fn new() -> Result<DictionaryWriter> {
        let compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL).map_err(|e| Error::io("start zstd", e))?;
        Ok(DictionaryWriter {
            compressor,
            text: Vec::new(),
            lengths: Vec::new(),
            block_text: 0,
            block_values: 0,
            last: String::new(),
            heads: String::new(),
            directory: Vec::new(),
            blocks: 0,
            count: 0,
            written: 0,
        })
    }

    /// Takes a value above the one before; appends to `out` a block that it closes.
    pub fn push(&mut self, value: &str, out: &mut Vec<u8>) -> Result<()> {
        if self.count > 0 && value <= self.last.as_str() {
            return Err(Error::corrupt("dictionary values out of order"));
        }
        if self.block_values == 0 {
            self.heads.push_str(value);
        } else {
            let same = self.last.bytes().zip(value.bytes()).take_while(|(a, b)| a == b).count();
            varint(same, &mut self.lengths);
            varint(value.len() - same, &mut self.lengths);
            self.text.extend_from_slice(&value.as_bytes()[same..]);
        }
        self.last.clear();
        self.last.push_str(value);
        self.block_text += value.len();
        self.block_values += 1;
        self.count = self.count.checked_add(1).ok_or_else(|| Error::invalid("a dictionary of over 4 G values"))?;
        if self.block_text >= BLOCK_TEXT || self.block_values == BLOCK_VALUES {
            self.close(out)?;
        }
        Ok(())
    }

    /// Appends what is left and the directory; answers the number of values.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Result<u32> {
        if self.block_values > 0 {
            self.close(out)?;
        }
        out.extend_from_slice(self.heads.as_bytes());
        out.extend_from_slice(&self.directory);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&(self.heads.len() as u64).to_le_bytes());
        Ok(self.count)
    }

    fn close(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let too_long = || Error::invalid("dictionary values of over 4 GiB");
        let raw_text = self.text.len();
        let mut raw = std::mem::take(&mut self.text);
        raw.append(&mut self.lengths);
        let packed = self.compressor.compress(&raw).map_err(|e| Error::io("compress a dictionary", e))?;
        let pays = packed.len() * 10 < raw.len() * 9 && raw.len() <= packed.len() * RATIO_MAX;
        let (codec, stored) = if pays { (ZSTD, &packed) } else { (STORED, &raw) };
        out.extend_from_slice(stored);
        self.directory.extend_from_slice(&self.written.to_le_bytes());
        let first = self.count - self.block_values as u32;
        let heads = self.heads.len();
        let fields = [first as usize, stored.len(), raw.len(), raw_text, self.block_text, heads, codec as usize, 0];
        for field in fields {
            let field = u32::try_from(field).map_err(|_| too_long())?;
            self.directory.extend_from_slice(&field.to_le_bytes());
        }
        self.written += stored.len() as u64;
        self.blocks += 1;
        (self.block_text, self.block_values) = (0, 0);
        raw.clear();
        self.text = raw;
        Ok(())
    }
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn read_varint(bytes: &mut &[u8]) -> Option<usize> {
    if let Some((byte @ 0..0x80, rest)) = bytes.split_first() {
        *bytes = rest;
        return Some(usize::from(*byte));
    }
    let (mut value, mut shift) = (0u64, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value).ok();
        }
        shift += 7;
        if shift > 28 {
            return None;
        }
    }
}

/// A text that is looked for in many values; not empty.
pub struct Needle(Finder<'static>);

impl Needle {
    pub fn new(text: &str) -> Needle {
        Needle(Finder::new(text).into_owned())
    }
}

/// Consecutive values, one after the other in one text.
#[derive(Debug, Default)]
pub struct Texts {
    pub text: String,
    /// Where each value ends; the first starts at 0.
    pub ends: Vec<u32>,
}

impl Texts {
    #[inline]
    pub fn get(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.text[start..self.ends[i] as usize]
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Calls `each` with the places, of those given, whose value contains the needle: one search through all of their
    /// text, which is many times faster than one a value.
    pub fn containing(&self, places: Range<usize>, needle: &Needle, mut each: impl FnMut(usize)) {
        if places.is_empty() {
            return;
        }
        let mut at = if places.start == 0 { 0 } else { self.ends[places.start - 1] as usize };
        let text = &self.text.as_bytes()[..self.ends[places.end - 1] as usize];
        let mut place = places.start;
        while place < places.end {
            let Some(found) = needle.0.find(&text[at..]) else { return };
            let found = at + found;
            while place < places.end && self.ends[place] as usize <= found {
                place += 1;
            }
            let Some(end) = self.ends[..places.end].get(place) else { return };
            let end = *end as usize;
            // What reaches into the next value is in neither.
            if found + needle.0.needle().len() <= end {
                each(place);
                (at, place) = (end, place + 1);
            } else {
                at = found + 1;
            }
        }
    }
}

/// A dictionary read in place.
pub struct Dictionary {
    bytes: Bytes,
    count: u32,
    heads: String,
    blocks: Vec<DictionaryBlock>,
    /// Of each block, the number of its first value: by themselves, so that a search stays in the cache.
    firsts: Vec<u32>,
    texts: Vec<OnceLock<Texts>>,
}

struct DictionaryBlock {
    first: u32,
    values: u32,
    offset: usize,
    stored: usize,
    raw: usize,
    raw_text: usize,
    text: usize,
    head_end: usize,
    codec: u32,
}

impl Dictionary {
    /// `None` if the bytes cannot be a dictionary.
    pub fn open(bytes: Bytes) -> Option<Dictionary> {
        let mut trailer = Fields(bytes.get(bytes.len().checked_sub(TRAILER)?..)?);
        let (count, blocks) = (trailer.u32()?, trailer.u32()? as usize);
        let heads_len = usize::try_from(trailer.u64()?).ok()?;
        let directory = (bytes.len() - TRAILER).checked_sub(blocks.checked_mul(ENTRY)?)?;
        let payload = directory.checked_sub(heads_len)?;
        let heads = std::str::from_utf8(&bytes[payload..directory]).ok()?.to_string();
        let mut fields = Fields(&bytes[directory..bytes.len() - TRAILER]);
        let mut list: Vec<DictionaryBlock> = Vec::with_capacity(blocks);
        let mut head_start = 0;
        for _ in 0..blocks {
            let offset = usize::try_from(fields.u64()?).ok()?;
            let first = fields.u32()?;
            let (stored, raw, raw_text) = (fields.u32()? as usize, fields.u32()? as usize, fields.u32()? as usize);
            let (text, head_end) = (fields.u32()? as usize, fields.u32()? as usize);
            let (codec, _) = (fields.u32()?, fields.u32()?);
            let head = head_end.checked_sub(head_start)?;
            let fits = offset.checked_add(stored)? <= payload
                && heads.is_char_boundary(head_end)
                && (head..=2 * BLOCK_TEXT + head + raw).contains(&text)
                && raw_text <= raw
                && match codec {
                    STORED => raw == stored,
                    ZSTD => raw <= stored.checked_mul(RATIO_MAX)?,
                    _ => false,
                };
            let ascending = list.last().map_or(first == 0, |last| first > last.first);
            if !fits || !ascending {
                return None;
            }
            list.push(DictionaryBlock { first, values: 0, offset, stored, raw, raw_text, text, head_end, codec });
            head_start = head_end;
        }
        for i in 0..blocks {
            let next = list.get(i + 1).map_or(count, |b| b.first);
            let block = &mut list[i];
            block.values = next.checked_sub(block.first).filter(|values| *values > 0)?;
            if (block.values as usize - 1) * 2 > block.raw || block.values as usize > BLOCK_VALUES {
                return None;
            }
        }
        if (count == 0) != (blocks == 0) {
            return None;
        }
        let texts = (0..blocks).map(|_| OnceLock::new()).collect();
        let firsts = list.iter().map(|block| block.first).collect();
        Some(Dictionary { bytes, count, heads, blocks: list, firsts, texts })
    }

    /// Number of values.
    pub fn len(&self) -> u32 {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Panics if `number` is not below the number of values.
    pub fn get(&self, number: u32) -> &str {
        assert!(number < self.count, "a value past the end of its dictionary");
        let block = self.block_of(number);
        self.texts(block).get((number - self.blocks[block].first) as usize)
    }

    /// The number of a value, or of the first value above it.
    pub fn find(&self, value: &str) -> Result<u32, u32> {
        let block = self.search_heads(value);
        let Some(block) = block.checked_sub(1) else { return Err(0) };
        let texts = self.texts(block);
        let (mut low, mut high) = (0, texts.len());
        while low < high {
            let middle = (low + high) / 2;
            match texts.get(middle).cmp(value) {
                std::cmp::Ordering::Equal => return Ok(self.blocks[block].first + middle as u32),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(self.blocks[block].first + low as u32)
    }

    /// Walks the values numbered by `range`: calls `each` with the number of the first of some texts and those of the
    /// texts that are in the range. Blocks that are not decoded yet are decoded for the call only.
    pub fn scan(&self, range: Range<u32>, mut each: impl FnMut(u32, Range<usize>, &Texts)) {
        let mut block = self.block_of(range.start);
        let (mut scratch, mut inflate) = (Texts::default(), Inflate::default());
        while let Some(entry) = self.blocks.get(block).filter(|b| b.first < range.end) {
            let texts = match self.texts[block].get() {
                Some(texts) => texts,
                None => {
                    self.decode(block, &mut inflate, &mut scratch);
                    &scratch
                }
            };
            let from = range.start.saturating_sub(entry.first).min(entry.values);
            let to = (range.end - entry.first).min(entry.values);
            each(entry.first, from as usize..to as usize, texts);
            block += 1;
        }
    }

    /// Walks the values in order, from a number on, holding one block of them.
    pub fn cursor(&self, from: u32) -> Cursor<'_> {
        let (mut texts, mut inflate) = (Texts::default(), Inflate::default());
        let block = self.block_of(from);
        if let Some(entry) = self.blocks.get(block) {
            self.decode(block, &mut inflate, &mut texts);
            let place = (from - entry.first) as usize;
            return Cursor { dictionary: self, block, place, texts, inflate };
        }
        Cursor { dictionary: self, block, place: 0, texts, inflate }
    }

    /// The block that holds a number; the last one for numbers past all.
    fn block_of(&self, number: u32) -> usize {
        self.firsts.partition_point(|first| *first <= number).saturating_sub(1)
    }

    /// Whether every block can be decoded and all values ascend.
    pub fn check(&self) -> bool {
        let (mut texts, mut inflate) = (Texts::default(), Inflate::default());
        let mut last: Option<String> = None;
        (0..self.blocks.len()).all(|block| {
            let decoded = self.try_decode(block, &mut inflate, &mut texts).is_some();
            decoded
                && (0..texts.len()).all(|i| {
                    let above = last.as_deref().is_none_or(|last| last < texts.get(i));
                    if i + 1 == texts.len() {
                        last = Some(texts.get(i).to_string());
                    }
                    above && (i == 0 || texts.get(i - 1) < texts.get(i))
                })
        })
    }

    /// How many heads are at or below the value.
    fn search_heads(&self, value: &str) -> usize {
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.head(middle) <= value { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn head(&self, block: usize) -> &str {
        let start = if block == 0 { 0 } else { self.blocks[block - 1].head_end };
        &self.heads[start..self.blocks[block].head_end]
    }

    fn texts(&self, block: usize) -> &Texts {
        self.texts[block].get_or_init(|| {
            let mut texts = Texts::default();
            self.decode(block, &mut Inflate::default(), &mut texts);
            texts
        })
    }

    fn decode(&self, block: usize, inflate: &mut Inflate, texts: &mut Texts) {
        if self.try_decode(block, inflate, texts).is_none() {
            texts.text.clear();
            texts.ends.clear();
            texts.ends.resize(self.blocks[block].values as usize, 0);
        }
    }

    fn try_decode(&self, block: usize, inflate: &mut Inflate, texts: &mut Texts) -> Option<()> {
        let entry = &self.blocks[block];
        let stored = &self.bytes[entry.offset..][..entry.stored];
        let raw = if entry.codec == ZSTD { inflate.block(stored, entry.raw)? } else { stored };
        let (mut suffixes, mut lengths) = raw.split_at(entry.raw_text);
        let mut text = std::mem::take(&mut texts.text).into_bytes();
        // Behind the text there is room for what copying by pieces writes past its end.
        text.clear();
        text.resize(entry.text + PIECE, 0);
        texts.ends.clear();
        texts.ends.reserve(entry.values as usize);
        let head = self.head(block).as_bytes();
        text[..head.len()].copy_from_slice(head);
        let (mut start, mut end) = (0, head.len());
        texts.ends.push(end as u32);
        for _ in 1..entry.values {
            let (prefix, suffix) = (read_varint(&mut lengths)?, read_varint(&mut lengths)?);
            let (now, later) = suffixes.split_at_checked(suffix)?;
            if prefix > end - start || prefix + suffix > entry.text - end {
                return None;
            }
            if prefix <= PIECE {
                let piece: [u8; PIECE] = text[start..start + PIECE].try_into().expect("a piece's length");
                text[end..end + PIECE].copy_from_slice(&piece);
            } else {
                text.copy_within(start..start + prefix, end);
            }
            match suffixes.first_chunk::<PIECE>() {
                Some(piece) if suffix <= PIECE => text[end + prefix..][..PIECE].copy_from_slice(piece),
                _ => text[end + prefix..][..suffix].copy_from_slice(now),
            }
            suffixes = later;
            (start, end) = (end, end + prefix + suffix);
            texts.ends.push(end as u32);
        }
        text.truncate(entry.text);
        let text = String::from_utf8(text).ok()?;
        let whole = suffixes.is_empty()
            && end == entry.text
            && texts.ends.iter().all(|end| text.is_char_boundary(*end as usize));
        texts.text = text;
        whole.then_some(())
    }
}

/// Decompresses block after block with one context, whose making costs more than a block does.
#[derive(Default)]
struct Inflate {
    context: Option<zstd::bulk::Decompressor<'static>>,
    raw: Vec<u8>,
}

impl Inflate {
    /// `None` if the bytes are not so many bytes compressed.
    fn block(&mut self, stored: &[u8], len: usize) -> Option<&[u8]> {
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(zstd::bulk::Decompressor::new().ok()?),
        };
        self.raw.clear();
        self.raw.reserve(len);
        context.decompress_to_buffer(stored, &mut self.raw).ok().filter(|inflated| *inflated == len)?;
        Some(&self.raw)
    }
}

/// A place in a dictionary.
pub struct Cursor<'a> {
    dictionary: &'a Dictionary,
    block: usize,
    place: usize,
    texts: Texts,
    inflate: Inflate,
}

impl Cursor<'_> {
    /// The value at hand; `None` past the last.
    pub fn value(&self) -> Option<&str> {
        (self.place < self.texts.len()).then(|| self.texts.get(self.place))
    }

    pub fn advance(&mut self) {
        self.place += 1;
        if self.place >= self.texts.len() && self.block + 1 < self.dictionary.blocks.len() {
            self.block += 1;
            self.place = 0;
            self.dictionary.decode(self.block, &mut self.inflate, &mut self.texts);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[String]) {
        let (mut writer, mut bytes) = (DictionaryWriter::new().unwrap(), Vec::new());
        values.iter().for_each(|v| writer.push(v, &mut bytes).unwrap());
        assert_eq!(writer.finish(&mut bytes).unwrap() as usize, values.len());
        let dictionary = Dictionary::open(bytes.into()).unwrap();
        assert!(dictionary.check());
        assert_eq!(dictionary.len() as usize, values.len());
        let mut scanned = Vec::new();
        let middle = dictionary.len() / 2;
        for range in [0..middle, middle..dictionary.len()] {
            dictionary.scan(range, |_, range, texts| scanned.extend(range.map(|i| texts.get(i).to_string())));
        }
        assert_eq!(scanned, values);
        for needle in ["a", "ab", "1-", "7-29", "xx", "é", "zzz"] {
            let finder = Needle::new(needle);
            let mut holding = Vec::new();
            for range in [0..middle, middle..dictionary.len()] {
                dictionary.scan(range, |first, range, texts| {
                    texts.containing(range, &finder, |place| holding.push(first as usize + place));
                });
            }
            let expected: Vec<usize> = (0..values.len()).filter(|i| values[*i].contains(needle)).collect();
            assert_eq!(holding, expected, "{needle}");
        }
        let mut cursor = dictionary.cursor(middle);
        for value in &values[middle as usize..] {
            assert_eq!(cursor.value(), Some(value.as_str()));
            cursor.advance();
        }
        assert_eq!(cursor.value(), None);
        assert_eq!(dictionary.cursor(dictionary.len()).value(), None);
        for (number, value) in values.iter().enumerate() {
            assert_eq!(dictionary.get(number as u32), value);
            assert_eq!(dictionary.find(value), Ok(number as u32));
            let above = format!("{value}\0");
            let place = values.partition_point(|v| *v < above) as u32;
            if !values.contains(&above) {
                assert_eq!(dictionary.find(&above), Err(place));
            }
        }
    }

    #[test]
    fn long_values_and_many_blocks() {
        check(&[]);
        check(&["".into()]);
        check(&["".into(), "x".repeat(100_000), "x".repeat(200_000), "é".into()]);
        let mut many: Vec<String> = (0..3000).map(|i| format!("{}-{i}", i * 7919 % 30_000)).collect();
        many.sort();
        check(&many);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_values_come_back(values in proptest::collection::btree_set("[a-c]{0,3}.{0,6}", 0..400)) {
            check(&values.into_iter().collect::<Vec<_>>());
        }
    }
}
