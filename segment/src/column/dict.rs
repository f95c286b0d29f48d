//! String dimensions: codes of rows, the dictionary that the codes number, and rows by code where there is an index.

use std::ops::Range;
use std::sync::OnceLock;

use super::index::Index;
use super::memory::{MemoryCodes, MemoryDictionary};
use crate::bitmap::Bitmap;
use crate::block::{BLOCK_ROWS, Value, spans};
use crate::dictionary::{Cursor, Dictionary, Texts};
use crate::encoding::codes::Codes;

/// A single- or multi-value string column. Null is a code like any other.
pub struct DictColumn {
    form: Form,
}

enum Form {
    Memory { dictionary: MemoryDictionary, codes: MemoryCodes },
    File(FileDict),
}

/// A column of a file: codes ascend with values, null is code 0 if there is a null.
pub(crate) struct FileDict {
    pub dictionary: Dictionary,
    pub has_null: bool,
    pub rows: FileRows,
    pub index: FileIndex,
    pub size_bytes: u64,
}

pub(crate) enum FileRows {
    Single(Codes),
    Multi(Lists),
}

/// How many codes each row has, and all codes one after the other.
pub(crate) struct Lists {
    pub lengths: Codes,
    /// Where the codes of each block of rows start, and of the end.
    pub starts: Vec<u64>,
    pub codes: Codes,
}

/// The index is opened when it is first asked for. A damaged one counts as none, which changes no answer.
pub(crate) struct FileIndex {
    pub open: Box<dyn Fn() -> Option<Index> + Send + Sync>,
    pub opened: OnceLock<Option<Index>>,
}

impl DictColumn {
    pub fn from_memory(dictionary: MemoryDictionary, codes: MemoryCodes) -> DictColumn {
        DictColumn { form: Form::Memory { dictionary, codes } }
    }

    pub(crate) fn from_file(file: FileDict) -> DictColumn {
        DictColumn { form: Form::File(file) }
    }

    pub fn rows(&self) -> usize {
        match &self.form {
            Form::Memory { codes, .. } => codes.rows(),
            Form::File(FileDict { rows: FileRows::Single(codes), .. }) => codes.rows(),
            Form::File(FileDict { rows: FileRows::Multi(lists), .. }) => lists.lengths.rows(),
        }
    }

    /// Number of codes, the null's included if there is a null.
    pub fn cardinality(&self) -> u32 {
        match &self.form {
            Form::Memory { dictionary, .. } => dictionary.len,
            Form::File(file) => file.dictionary.len() + u32::from(file.has_null),
        }
    }

    /// `None` is null. Panics if the code is not below the cardinality.
    pub fn value(&self, code: u32) -> Option<&str> {
        match &self.form {
            Form::Memory { dictionary, .. } => dictionary.get(code),
            Form::File(file) if file.has_null => Some(file.dictionary.get(code.checked_sub(1)?)),
            Form::File(file) => Some(file.dictionary.get(code)),
        }
    }

    /// Whether codes are ordered as values are, null first. Always so in files.
    pub fn is_sorted(&self) -> bool {
        matches!(self.form, Form::File(_))
    }

    /// The null's code, if there is a null.
    pub fn null_code(&self) -> Option<u32> {
        match &self.form {
            Form::Memory { dictionary, .. } => dictionary.null,
            Form::File(file) => file.has_null.then_some(0),
        }
    }

    /// The code of a value; `None` if no row has it.
    pub fn code(&self, value: Option<&str>) -> Option<u32> {
        let Some(text) = value else { return self.null_code() };
        match &self.form {
            Form::Memory { dictionary, .. } => (0..dictionary.len).find(|c| dictionary.get(*c) == Some(text)),
            Form::File(file) => file.dictionary.find(text).ok().map(|number| number + u32::from(file.has_null)),
        }
    }

    /// First code whose value is not below `value`. Sorted dictionaries only: panics on others.
    pub fn lower_bound(&self, value: &str) -> u32 {
        match &self.form {
            Form::Memory { .. } => panic!("lower bound in an unsorted dictionary"),
            Form::File(file) => {
                let (Ok(number) | Err(number)) = file.dictionary.find(value);
                number + u32::from(file.has_null)
            }
        }
    }

    /// Walks the non-null values with codes in `range`, many at once: `each` gets some texts that lie one after the other,
    /// the places among them that are in the range, and the code of place 0. The way to test every value of a large
    /// dictionary: nothing is kept in memory that was not there, and a substring search can run over the whole text.
    pub fn scan_values(&self, range: Range<u32>, mut each: impl FnMut(u32, Range<usize>, &Texts)) {
        match &self.form {
            Form::Memory { dictionary, .. } => {
                let mut texts = Texts::default();
                for code in range {
                    let Some(value) = dictionary.get(code) else { continue };
                    texts.text.clear();
                    texts.text.push_str(value);
                    texts.ends.clear();
                    texts.ends.push(value.len() as u32);
                    each(code, 0..1, &texts);
                }
            }
            Form::File(file) => {
                let shift = u32::from(file.has_null);
                let numbers = range.start.saturating_sub(shift)..range.end.saturating_sub(shift);
                file.dictionary.scan(numbers, |first, range, texts| each(first + shift, range, texts));
            }
        }
    }

    /// Walks the non-null values in ascending order with their codes, holding little of a file's dictionary.
    pub(crate) fn ascending(&self) -> Ascending<'_> {
        match &self.form {
            Form::Memory { dictionary, .. } => {
                // Most comparisons are settled by the first bytes, without a look at the text.
                let head = |code: u32| {
                    let mut head = [0; 8];
                    let text = dictionary.get(code)?.as_bytes();
                    let len = text.len().min(8);
                    head[..len].copy_from_slice(&text[..len]);
                    Some((u64::from_be_bytes(head), code))
                };
                let mut codes: Vec<(u64, u32)> = (0..dictionary.len).filter_map(head).collect();
                codes
                    .sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| dictionary.get(a.1).cmp(&dictionary.get(b.1))));
                Ascending::Memory { dictionary, codes: codes.into_iter().map(|(_, code)| code).collect(), place: 0 }
            }
            Form::File(file) => Ascending::File { cursor: file.dictionary.cursor(0), code: u32::from(file.has_null) },
        }
    }

    /// Walks the non-null values of a sorted dictionary in order, from a code on. Panics on others, and if the code is the
    /// null's.
    pub fn cursor(&self, from: u32) -> Cursor<'_> {
        match &self.form {
            Form::Memory { .. } => panic!("a walk through an unsorted dictionary"),
            Form::File(file) => {
                let number = from.checked_sub(u32::from(file.has_null)).expect("the code of a value");
                file.dictionary.cursor(number)
            }
        }
    }

    pub fn is_multi(&self) -> bool {
        match &self.form {
            Form::Memory { codes, .. } => matches!(codes, MemoryCodes::Multi(_)),
            Form::File(file) => matches!(file.rows, FileRows::Multi(_)),
        }
    }

    /// Codes of the rows from `start` on, as many as `out` is long. Single-value columns only.
    pub fn codes(&self, start: usize, out: &mut [u32]) {
        match &self.form {
            Form::Memory { codes: MemoryCodes::Single(chunks), .. } => {
                spans(start, out, |chunk, from, out| out.copy_from_slice(&chunks[chunk][from..from + out.len()]));
            }
            Form::File(FileDict { rows: FileRows::Single(codes), .. }) => codes.decode(start, out),
            _ => panic!("single codes of a multi-value column"),
        }
    }

    /// The code of one row. Single-value columns only.
    #[inline]
    pub fn code_at(&self, row: usize) -> u32 {
        match &self.form {
            Form::Memory { codes: MemoryCodes::Single(chunks), .. } => chunks[row / BLOCK_ROWS][row % BLOCK_ROWS],
            Form::File(FileDict { rows: FileRows::Single(codes), .. }) => codes.at(row),
            _ => panic!("single codes of a multi-value column"),
        }
    }

    /// Codes of the given rows. Single-value columns only.
    pub fn codes_at(&self, rows: &[u32], out: &mut Vec<u32>) {
        out.clear();
        match &self.form {
            Form::Memory { codes: MemoryCodes::Single(chunks), .. } => {
                out.extend(rows.iter().map(|r| chunks[*r as usize / BLOCK_ROWS][*r as usize % BLOCK_ROWS]));
            }
            Form::File(FileDict { rows: FileRows::Single(codes), .. }) => {
                out.extend(rows.iter().map(|r| codes.at(*r as usize)));
            }
            _ => panic!("single codes of a multi-value column"),
        }
    }

    /// As [`DictColumn::codes`], for columns of up to 256 codes.
    pub fn codes_u8(&self, start: usize, out: &mut [u8]) {
        assert!(self.cardinality() <= 1 << 8, "codes that do not fit a byte");
        self.narrow(start, out, |code| code as u8);
    }

    /// As [`DictColumn::codes`], for columns of up to 65536 codes.
    pub fn codes_u16(&self, start: usize, out: &mut [u16]) {
        assert!(self.cardinality() <= 1 << 16, "codes that do not fit two bytes");
        self.narrow(start, out, |code| code as u16);
    }

    fn narrow<T>(&self, start: usize, out: &mut [T], to: impl Fn(u32) -> T) {
        let mut wide = [0u32; BLOCK_ROWS];
        spans(start, out, |block, from, out| {
            let wide = &mut wide[..out.len()];
            self.codes(block * BLOCK_ROWS + from, wide);
            out.iter_mut().zip(wide).for_each(|(o, w)| *o = to(*w));
        });
    }

    /// Lists of `len` rows from `start`: row `i` holds `codes[offsets[i]..offsets[i + 1]]`; an empty list is a null.
    /// Clears what `offsets` and `codes` held. A single-value column gives lists of one.
    pub fn lists(&self, start: usize, len: usize, offsets: &mut Vec<u32>, codes: &mut Vec<u32>) {
        offsets.clear();
        codes.clear();
        offsets.push(0);
        match &self.form {
            Form::Memory { codes: MemoryCodes::Multi(chunks), .. } => {
                for row in start..start + len {
                    codes.extend_from_slice(chunks[row / BLOCK_ROWS].get(row % BLOCK_ROWS));
                    offsets.push(codes.len() as u32);
                }
            }
            Form::File(FileDict { rows: FileRows::Multi(lists), .. }) => lists.read(start, len, offsets, codes),
            _ => {
                codes.resize(len, 0);
                self.codes(start, codes);
                offsets.extend(1..=len as u32);
            }
        }
    }

    /// The rows that hold the code, in any place of a list; an empty list counts as null. `None` if the column has no
    /// index.
    pub fn bitmap(&self, code: u32) -> Option<Bitmap<'_>> {
        assert!(code < self.cardinality(), "a code past the end of its dictionary");
        match &self.form {
            Form::Memory { .. } => None,
            Form::File(file) => {
                let index = file.index.opened.get_or_init(|| (file.index.open)());
                index.as_ref().map(|index| index.rows_of(code))
            }
        }
    }

    pub fn size_bytes(&self) -> u64 {
        match &self.form {
            Form::Memory { dictionary, codes } => (dictionary.bytes() + codes.bytes()) as u64,
            Form::File(file) => file.size_bytes,
        }
    }

    /// A row of a multi-value column as a value: null, the text, or the list of texts.
    pub(crate) fn list_value(&self, codes: &[u32]) -> Value {
        let value = |code: &u32| self.value(*code).map_or(Value::Null, Value::text);
        match codes {
            [] => Value::Null,
            [one] => value(one),
            many => Value::List(many.iter().map(value).collect()),
        }
    }

    /// Decodes what is decoded late otherwise; false if something is not what was written.
    pub(crate) fn check(&self) -> bool {
        match &self.form {
            Form::Memory { .. } => true,
            Form::File(file) => file.dictionary.check(),
        }
    }
}

/// See [`DictColumn::ascending`].
pub(crate) enum Ascending<'a> {
    Memory { dictionary: &'a MemoryDictionary, codes: Vec<u32>, place: usize },
    File { cursor: Cursor<'a>, code: u32 },
}

impl Ascending<'_> {
    /// The value at hand and its code; `None` past the last.
    pub fn value(&self) -> Option<(&str, u32)> {
        match self {
            Ascending::Memory { dictionary, codes, place } => {
                let code = *codes.get(*place)?;
                Some((dictionary.get(code)?, code))
            }
            Ascending::File { cursor, code } => Some((cursor.value()?, *code)),
        }
    }

    pub fn advance(&mut self) {
        match self {
            Ascending::Memory { place, .. } => *place += 1,
            Ascending::File { cursor, code } => {
                cursor.advance();
                *code += 1;
            }
        }
    }
}

impl Lists {
    fn read(&self, start: usize, len: usize, offsets: &mut Vec<u32>, codes: &mut Vec<u32>) {
        let mut lengths = [0u32; BLOCK_ROWS];
        let mut row = start;
        while row < start + len {
            let (block, from) = (row / BLOCK_ROWS, row % BLOCK_ROWS);
            let take = (BLOCK_ROWS - from).min(start + len - row);
            // Lengths before the rows asked for tell where the rows' codes start in the block.
            let lengths = &mut lengths[..from + take];
            self.lengths.decode(block * BLOCK_ROWS, lengths);
            let skip: u64 = lengths[..from].iter().map(|l| u64::from(*l)).sum();
            let end = self.starts[block + 1];
            let first = (self.starts[block] + skip).min(end);
            let mut at = first;
            let base = codes.len() as u64;
            for length in &lengths[from..] {
                at = (at + u64::from(*length)).min(end);
                offsets.push((base + at - first) as u32);
            }
            codes.resize((base + at - first) as usize, 0);
            self.codes.decode(first as usize, &mut codes[base as usize..]);
            row += take;
        }
    }
}
