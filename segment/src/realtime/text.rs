//! A string dimension while it grows: a dictionary and codes.

use serde_json::Value as Json;

use super::chunk::CodeChunks;
use super::coerce;
use super::dictionary::Dictionary;
use crate::block::Value;
use crate::column::{DictColumn, document};
use crate::row::{Cell, RowBatch};
use crate::schema::{MultiValue, ValueType};

/// The mark of an encoded entry that is a list: the rest of it is the list's number.
pub(super) const LIST: u32 = 1 << 31;

pub(super) struct TextColumn {
    dictionary: Dictionary,
    codes: CodeChunks,
    multi_value: MultiValue,
    buffer: String,
}

/// Entries of the rows at hand, before they are placed: a code, or with the [`LIST`] mark the number of a list.
#[derive(Default)]
pub(super) struct TextScratch {
    pub entries: Vec<u32>,
    list_ends: Vec<u32>,
    list_codes: Vec<u32>,
}

impl TextScratch {
    pub fn list(&self, entry: u32) -> &[u32] {
        let list = (entry & !LIST) as usize;
        let start = if list == 0 { 0 } else { self.list_ends[list - 1] as usize };
        &self.list_codes[start..self.list_ends[list] as usize]
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.list_ends.clear();
        self.list_codes.clear();
    }
}

/// A nested value as Java prints it.
fn printed(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(", ")),
        Json::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", printed(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

impl TextColumn {
    /// A column with `rows` nulls.
    pub fn new(multi_value: MultiValue, rows: usize) -> TextColumn {
        let mut column =
            TextColumn { dictionary: Dictionary::new(), codes: CodeChunks::new(), multi_value, buffer: String::new() };
        if rows > 0 {
            let null = column.dictionary.null_code();
            column.codes.extend(&vec![null; rows]);
        }
        column
    }

    /// Encodes what a column of documents keeps for the cells of the rows.
    pub fn encode_documents(
        &mut self,
        batch: &RowBatch,
        cells: Option<&[Cell]>,
        rows: &[u32],
        value_type: &ValueType,
        out: &mut TextScratch,
    ) {
        out.clear();
        for &row in rows {
            let cell = cells.map_or(Cell::Null, |cells| cells[row as usize]);
            let code = match cell {
                Cell::Null => self.dictionary.null_code(),
                Cell::Json { .. } if value_type.is_json() => self.dictionary.code(batch.text_of(cell)),
                Cell::List { .. } if matches!(value_type, ValueType::Array(of) if **of == ValueType::String) => {
                    // Booleans are words among texts.
                    let mut texts = Vec::with_capacity(batch.list_of(cell).len());
                    for &item in batch.list_of(cell) {
                        texts.push(coerce::text(batch, item, &mut self.buffer).map_or(Value::Null, Value::text));
                    }
                    let text = document::write(&Value::List(texts), value_type);
                    match text {
                        Some(text) => self.dictionary.code(&text),
                        None => self.dictionary.null_code(),
                    }
                }
                Cell::Bool(flag) if value_type.is_json() => self.dictionary.code(if flag { "true" } else { "false" }),
                cell => match document::write(&batch.value(cell), value_type) {
                    Some(text) => self.dictionary.code(&text),
                    None => self.dictionary.null_code(),
                },
            };
            out.entries.push(code);
        }
    }

    /// Encodes the cells of the rows, or nulls if the batch has no such field. A list in a list is bad.
    pub fn encode(
        &mut self,
        batch: &RowBatch,
        cells: Option<&[Cell]>,
        rows: &[u32],
        out: &mut TextScratch,
        bad: &mut dyn FnMut(usize),
    ) {
        out.clear();
        let Some(cells) = cells else {
            let null = self.dictionary.null_code();
            out.entries.resize(rows.len(), null);
            return;
        };
        out.entries.reserve(rows.len());
        for (at, &row) in rows.iter().enumerate() {
            let entry = match cells[row as usize] {
                cell @ Cell::Json { .. } if batch.text_of(cell).starts_with('[') => {
                    self.encode_nested(batch.text_of(cell), out)
                }
                cell @ (Cell::Text { .. } | Cell::Json { .. }) => self.dictionary.code(batch.text_of(cell)),
                Cell::Null => self.dictionary.null_code(),
                cell @ Cell::List { .. } => self.encode_list(batch, batch.list_of(cell), out, &mut || bad(at)),
                cell => self.code(batch, cell),
            };
            out.entries.push(entry);
        }
    }

    /// A list with lists or objects in it: several values, of which those are their text, as Java prints lists.
    fn encode_nested(&mut self, json: &str, out: &mut TextScratch) -> u32 {
        let items = match serde_json::from_str(json) {
            Ok(Json::Array(items)) => items,
            _ => return self.dictionary.code(json),
        };
        let start = out.list_codes.len();
        for item in &items {
            let code = match item {
                Json::Null => self.dictionary.null_code(),
                Json::String(text) => self.dictionary.code(text),
                other => self.dictionary.code(&printed(other)),
            };
            out.list_codes.push(code);
        }
        self.settle_list(start, out)
    }

    fn encode_list(&mut self, batch: &RowBatch, list: &[Cell], out: &mut TextScratch, bad: &mut dyn FnMut()) -> u32 {
        let start = out.list_codes.len();
        for &cell in list {
            if matches!(cell, Cell::List { .. }) {
                bad();
            }
            let code = self.code(batch, cell);
            out.list_codes.push(code);
        }
        self.settle_list(start, out)
    }

    /// Orders the codes of the last list, and makes an entry of them.
    fn settle_list(&mut self, start: usize, out: &mut TextScratch) -> u32 {
        let codes = &mut out.list_codes[start..];
        if self.multi_value != MultiValue::Array {
            codes.sort_by(|a, b| self.dictionary.get(*a).cmp(&self.dictionary.get(*b)));
        }
        if self.multi_value == MultiValue::SortedSet {
            let mut kept = start;
            for at in start..out.list_codes.len() {
                if at == start || out.list_codes[at] != out.list_codes[kept - 1] {
                    out.list_codes[kept] = out.list_codes[at];
                    kept += 1;
                }
            }
            out.list_codes.truncate(kept);
        }
        match out.list_codes[start..] {
            [] => self.dictionary.null_code(),
            [one] => {
                out.list_codes.truncate(start);
                one
            }
            _ => {
                out.list_ends.push(out.list_codes.len() as u32);
                LIST | (out.list_ends.len() as u32 - 1)
            }
        }
    }

    fn code(&mut self, batch: &RowBatch, cell: Cell) -> u32 {
        match coerce::text(batch, cell, &mut self.buffer) {
            Some(text) => self.dictionary.code(text),
            None => self.dictionary.null_code(),
        }
    }

    pub fn append_all(&mut self, from: &TextScratch) {
        if from.list_ends.is_empty() && !self.codes.is_multi() {
            self.codes.extend(&from.entries);
        } else {
            (0..from.entries.len()).for_each(|at| self.append_one(from, at));
        }
    }

    pub fn append_one(&mut self, from: &TextScratch, at: usize) {
        let entry = from.entries[at];
        if entry & LIST != 0 {
            self.codes.make_multi(self.dictionary.null());
            self.codes.push_list(from.list(entry));
        } else {
            self.append_code(entry);
        }
    }

    pub fn append_text(&mut self, text: Option<&str>) {
        let code = match text {
            Some(text) => self.dictionary.code(text),
            None => self.dictionary.null_code(),
        };
        self.append_code(code);
    }

    fn append_code(&mut self, code: u32) {
        if !self.codes.is_multi() {
            self.codes.extend(&[code]);
        } else if self.is_null_code(code) {
            self.codes.push_list(&[]);
        } else {
            self.codes.push_list(&[code]);
        }
    }

    /// Whether a stored row equals an encoded one.
    #[inline]
    pub fn equals(&self, row: usize, from: &TextScratch, at: usize) -> bool {
        let (stored, entry) = (self.codes.get(row), from.entries[at]);
        match stored {
            [] => self.is_null_code(entry),
            [code] => *code == entry,
            list => entry & LIST != 0 && list == from.list(entry),
        }
    }

    pub fn is_null_code(&self, code: u32) -> bool {
        self.dictionary.null() == Some(code)
    }

    /// The codes of a stored row, none if it is null.
    pub fn stored(&self, row: usize) -> &[u32] {
        match self.codes.get(row) {
            [code] if self.is_null_code(*code) => &[],
            codes => codes,
        }
    }

    /// The text of a stored row of one value; `None` is null.
    pub fn stored_text(&self, row: usize) -> Option<&str> {
        match self.stored(row) {
            [] => None,
            codes => self.dictionary.get(codes[0]),
        }
    }

    pub fn bytes(&self) -> usize {
        self.dictionary.bytes() + self.codes.bytes()
    }

    pub fn view(&mut self) -> DictColumn {
        DictColumn::from_memory(self.dictionary.share(), self.codes.share())
    }
}
