//! JSON records into rows, without a tree: a scanner walks the bytes once and sets cells as it meets fields.
//!
//! 1. The record must be UTF-8; it is checked as a whole, so that slices of it are text.
//! 2. The name of a field is not looked up but compared: each field remembers which one followed it last time. Only a
//!    surprise costs a look into the hash map.
//! 3. Values of fields that nothing reads are skipped, though not unchecked: the whole record must be JSON.
//! 4. Fields that a flattenSpec path reads are parsed into a tree, they alone.
//! 5. A record may hold several objects, one after the other: several rows. If one of them is bad, none is taken.

use hashbrown::HashMap;
use segment::row::{Cell, RowBatch};
use serde_json::Value;

use super::Failure;
use super::path::Path;
use super::plan::{Plan, Purpose, cell_of, raw_of};
use super::timestamp::Raw;
use crate::spec::Flatten;

/// Levels of nesting that a record may have.
pub const DEPTH_MAX: usize = 512;

/// Names that are remembered. Past this, unknown names are skipped: they cannot be meant as columns.
const NAMES_MAX: usize = 10_000;

pub(crate) struct JsonParser {
    plan: Plan,
    slots: Vec<Slot>,
    index: HashMap<Box<str>, u32, foldhash::fast::RandomState>,
    paths: Vec<PathField>,
    /// Some path may read any field.
    whole: bool,
    /// Top-level fields are read (`useFieldDiscovery`).
    roots: bool,
    scratch: String,
    list: Vec<Cell>,
}

/// A name that was met at the top level. Slot 0 is the place before the first name.
struct Slot {
    name: Box<str>,
    /// The name as it stands in compact JSON after its first quote: `name":`. Empty if it needs escapes.
    compact: Box<[u8]>,
    /// The slot that followed last time.
    next: u32,
    purpose: Purpose,
    field: usize,
    /// Paths that read this field.
    paths: Vec<u32>,
}

struct PathField {
    path: Path,
    name: String,
    purpose: Purpose,
    field: usize,
}

/// The time of the row that is being read.
type Time = Option<Result<i64, String>>;

const NOTHING: Purpose = Purpose { time: false, field: false, named: false };

impl JsonParser {
    pub(crate) fn new(plan: Plan, flatten: &Flatten) -> JsonParser {
        let mut parser = JsonParser {
            slots: Vec::new(),
            index: HashMap::default(),
            paths: Vec::new(),
            whole: false,
            roots: flatten.discovery,
            scratch: String::new(),
            list: Vec::new(),
            plan,
        };
        parser.push_slot("", NOTHING);
        for field in &flatten.fields {
            let purpose = parser.plan.purpose(&field.name);
            if purpose.is_nothing() {
                continue;
            }
            parser.whole |= field.path.first_key().is_none();
            let (path, name) = (field.path.clone(), field.name.clone());
            parser.paths.push(PathField { path, name, purpose, field: usize::MAX });
        }
        let named: Vec<String> = parser.plan.named().map(str::to_string).collect();
        let column = parser.plan.time.column.clone();
        let keys: Vec<String> = parser.paths.iter().filter_map(|p| p.path.first_key().map(str::to_string)).collect();
        for name in named.into_iter().chain([column]).chain(keys) {
            parser.slot(&name);
        }
        parser
    }

    /// Appends the rows of one record; on failure none.
    pub(crate) fn parse(&mut self, record: &[u8], batch: &mut RowBatch) -> Result<usize, Failure> {
        let text = match std::str::from_utf8(record) {
            Ok(text) => text,
            Err(e) => return Err(Failure::new(format!("not UTF-8 at byte {}", e.valid_up_to()))),
        };
        if batch.arena_bytes() + record.len() > u32::MAX as usize {
            return Err(Failure::new("the record is too large"));
        }
        if batch.rows() == 0 {
            self.bind(batch);
        }
        let mark = batch.mark();
        let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0 };
        let mut rows = 0;
        loop {
            scanner.space();
            if scanner.at == scanner.bytes.len() {
                return Ok(rows);
            }
            if let Err(failure) = self.row(&mut scanner, batch) {
                batch.rollback(mark);
                return Err(failure);
            }
            rows += 1;
        }
    }

    /// Finds the columns of a batch that was cleared or is new.
    fn bind(&mut self, batch: &mut RowBatch) {
        for slot in &mut self.slots {
            if slot.purpose.field && (slot.purpose.named || slot.field != usize::MAX) {
                slot.field = field_of(batch, &slot.name, slot.field);
            }
        }
        for path in &mut self.paths {
            if path.purpose.field {
                path.field = field_of(batch, &path.name, path.field);
            }
        }
    }

    fn push_slot(&mut self, name: &str, purpose: Purpose) -> u32 {
        let plain = !name.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\');
        let compact = if plain { format!("{name}\":").into_bytes() } else { Vec::new() };
        let paths =
            self.paths.iter().enumerate().filter(|(_, p)| p.path.first_key() == Some(name)).map(|(i, _)| i as u32);
        let slot = Slot {
            name: name.into(),
            compact: compact.into(),
            next: 0,
            purpose,
            field: usize::MAX,
            paths: paths.collect(),
        };
        self.slots.push(slot);
        self.slots.len() as u32 - 1
    }

    /// The slot of a name, made if it is new; 0 if there are too many.
    fn slot(&mut self, name: &str) -> u32 {
        if let Some(slot) = self.index.get(name) {
            return *slot;
        }
        if self.slots.len() >= NAMES_MAX {
            return 0;
        }
        let shadowed = self.paths.iter().any(|p| p.name == name);
        let purpose = if self.roots && !shadowed { self.plan.purpose(name) } else { NOTHING };
        let slot = self.push_slot(name, purpose);
        self.index.insert(name.into(), slot);
        slot
    }

    /// One object. The row is finished, or not begun.
    fn row(&mut self, scanner: &mut Scanner, batch: &mut RowBatch) -> Result<(), Failure> {
        let mut time: Time = None;
        let start = scanner.at;
        self.object(scanner, batch, &mut time).map_err(|bad| bad.failure())?;
        if self.whole {
            let record = tree(&scanner.text[start..scanner.at]).map_err(Failure::new)?;
            for path in 0..self.paths.len() {
                if self.paths[path].path.first_key().is_none() {
                    let found = self.paths[path].path.find(&record);
                    self.set_path(path, found, batch, &mut time);
                }
            }
        }
        let time = match time {
            Some(time) => time,
            None => self.plan.time.read(Raw::Null),
        };
        batch.finish_row(time.map_err(Failure::new)?);
        Ok(())
    }

    fn object(&mut self, scanner: &mut Scanner, batch: &mut RowBatch, time: &mut Time) -> Result<(), Bad> {
        scanner.expect(b'{', "a JSON object")?;
        scanner.space();
        if scanner.eat(b'}') {
            return Ok(());
        }
        let mut before = 0u32;
        loop {
            scanner.expect(b'"', "a field name in quotes")?;
            let slot = self.next_slot(scanner, before)?;
            scanner.space();
            self.value(slot, scanner, batch, time)?;
            before = slot;
            if scanner.peek() != Some(b',') {
                scanner.space();
            }
            if scanner.eat(b',') {
                if scanner.peek() != Some(b'"') {
                    scanner.space();
                }
            } else {
                return scanner.expect(b'}', "a comma or the end of the object");
            }
        }
    }

    /// Reads a name (its first quote is behind) and the colon.
    #[inline]
    fn next_slot(&mut self, scanner: &mut Scanner, before: u32) -> Result<u32, Bad> {
        let guess = self.slots[before as usize].next;
        let compact = &self.slots[guess as usize].compact;
        if guess != 0 && !compact.is_empty() && scanner.bytes[scanner.at..].starts_with(compact) {
            scanner.at += compact.len();
            return Ok(guess);
        }
        let (start, end, escaped) = scanner.string()?;
        scanner.space();
        scanner.expect(b':', "a colon")?;
        let slot = if escaped {
            let mut name = std::mem::take(&mut self.scratch);
            name.clear();
            let decoded = unescape(&scanner.text[start..end], &mut name, start);
            let slot = decoded.map(|()| self.slot(&name));
            self.scratch = name;
            slot?
        } else {
            self.slot(&scanner.text[start..end])
        };
        self.slots[before as usize].next = slot;
        Ok(slot)
    }

    #[inline]
    fn value(&mut self, slot: u32, scanner: &mut Scanner, batch: &mut RowBatch, time: &mut Time) -> Result<(), Bad> {
        let purpose = self.slots[slot as usize].purpose;
        if !self.slots[slot as usize].paths.is_empty() {
            return self.paths_below(slot, scanner, batch, time);
        }
        if purpose.is_nothing() {
            return scanner.skip(0);
        }
        if purpose.time {
            let start = scanner.at;
            *time = Some(self.time(scanner)?);
            if !purpose.field {
                return Ok(());
            }
            scanner.at = start;
        }
        let cell = self.cell(scanner, batch, purpose.named)?;
        let slot = &mut self.slots[slot as usize];
        if slot.field == usize::MAX {
            // A first value that is null or nested makes no column yet.
            if cell == Cell::Null {
                return Ok(());
            }
            slot.field = batch.field(&slot.name);
        }
        batch.set(slot.field, cell);
        Ok(())
    }

    #[inline]
    fn cell(&mut self, scanner: &mut Scanner, batch: &mut RowBatch, named: bool) -> Result<Cell, Bad> {
        match scanner.peek() {
            Some(b'"') => {
                scanner.at += 1;
                let (start, end, escaped) = scanner.string()?;
                let text = &scanner.text[start..end];
                if !escaped {
                    return Ok(batch.text(text));
                }
                let mut decoded = Ok(());
                let cell = batch.text_with(|arena| decoded = unescape(text, arena, start));
                decoded.map(|()| cell)
            }
            Some(b'-' | b'0'..=b'9') => scanner.number(),
            Some(b'{') => {
                let start = scanner.at;
                scanner.skip(0)?;
                Ok(if named { compact_json(&scanner.text[start..scanner.at], batch) } else { Cell::Null })
            }
            Some(b'[') => {
                let start = scanner.at;
                if !self.list(scanner, batch)? {
                    scanner.at = start;
                    scanner.skip(0)?;
                    return Ok(if named { compact_json(&scanner.text[start..scanner.at], batch) } else { Cell::Null });
                }
                Ok(batch.list(&self.list))
            }
            _ => scanner.literal(),
        }
    }

    /// Reads a list of scalars into `self.list`; `false` at the first nested value.
    fn list(&mut self, scanner: &mut Scanner, batch: &mut RowBatch) -> Result<bool, Bad> {
        self.list.clear();
        scanner.expect(b'[', "a list")?;
        scanner.space();
        if scanner.eat(b']') {
            return Ok(true);
        }
        loop {
            if matches!(scanner.peek(), Some(b'[' | b'{')) {
                return Ok(false);
            }
            let cell = self.cell(scanner, batch, false)?;
            self.list.push(cell);
            scanner.space();
            if scanner.eat(b']') {
                return Ok(true);
            }
            scanner.expect(b',', "a comma or the end of the list")?;
            scanner.space();
        }
    }

    fn time(&mut self, scanner: &mut Scanner) -> Result<Result<i64, String>, Bad> {
        Ok(match scanner.peek() {
            Some(b'"') => {
                scanner.at += 1;
                let (start, end, escaped) = scanner.string()?;
                let text = &scanner.text[start..end];
                if escaped {
                    self.scratch.clear();
                    unescape(text, &mut self.scratch, start)?;
                    self.plan.time.read(Raw::Text(&self.scratch))
                } else {
                    self.plan.time.read(Raw::Text(text))
                }
            }
            Some(b'-' | b'0'..=b'9') => match scanner.number()? {
                Cell::Long(n) => self.plan.time.read(Raw::Long(n)),
                Cell::Double(n) => self.plan.time.read(Raw::Double(n)),
                _ => self.plan.time.read(Raw::Other),
            },
            Some(b'[' | b'{') => {
                scanner.skip(0)?;
                self.plan.time.read(Raw::Other)
            }
            _ => match scanner.literal()? {
                Cell::Null => self.plan.time.read(Raw::Null),
                _ => self.plan.time.read(Raw::Other),
            },
        })
    }

    /// A field that paths read: parsed into a tree, then read as a field itself if it is one.
    fn paths_below(
        &mut self,
        idx: u32,
        scanner: &mut Scanner,
        batch: &mut RowBatch,
        time: &mut Time,
    ) -> Result<(), Bad> {
        let start = scanner.at;
        scanner.skip(0)?;
        let value =
            tree(&scanner.text[start..scanner.at]).map_err(|_| Bad { at: start, wanted: "fewer than 128 levels" })?;
        let slot = &mut self.slots[idx as usize];
        if slot.purpose.time {
            *time = Some(self.plan.time.read(raw_of(&value)));
        }
        if slot.purpose.field {
            let cell = cell_of(&value, slot.purpose.named, batch);
            if slot.field == usize::MAX && cell != Cell::Null {
                slot.field = batch.field(&slot.name);
            }
            if slot.field != usize::MAX {
                batch.set(slot.field, cell);
            }
        }
        let slot = &self.slots[idx as usize];
        let found: Vec<(u32, Option<Value>)> =
            slot.paths.iter().map(|path| (*path, self.paths[*path as usize].path.find_below(&value))).collect();
        for (path, found) in found {
            self.set_path(path as usize, found, batch, time);
        }
        Ok(())
    }

    fn set_path(&mut self, path: usize, found: Option<Value>, batch: &mut RowBatch, time: &mut Time) {
        let Some(found) = found else { return };
        let path = &self.paths[path];
        if path.purpose.time {
            *time = Some(self.plan.time.read(raw_of(&found)));
        }
        if path.purpose.field {
            let cell = cell_of(&found, true, batch);
            batch.set(path.field, cell);
        }
    }
}

/// The place of a name in a batch; `guess` is where it was last time.
fn field_of(batch: &mut RowBatch, name: &str, guess: usize) -> usize {
    match batch.names().get(guess) {
        Some(found) if found == name => guess,
        _ => batch.field(name),
    }
}

fn tree(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|e| format!("cannot be flattened: {e}"))
}

/// A document without the space between its parts, in the arena.
fn compact_json(json: &str, batch: &mut RowBatch) -> Cell {
    let written = batch.text_with(|arena| {
        let (mut quoted, mut escaped) = (false, false);
        arena.extend(json.chars().filter(|c| {
            let keep = quoted || !matches!(c, ' ' | '\t' | '\n' | '\r');
            if *c == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = quoted && *c == '\\' && !escaped;
            keep
        }));
    });
    match written {
        Cell::Text { start, len } => Cell::Json { start, len },
        other => other,
    }
}

/// What was wanted where something else stands.
struct Bad {
    at: usize,
    wanted: &'static str,
}

impl Bad {
    fn failure(self) -> Failure {
        Failure::new(format!("invalid JSON at byte {}: expected {}", self.at, self.wanted))
    }
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Powers of ten that a double holds exactly.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

impl<'a> Scanner<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    #[inline]
    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), Bad> {
        if self.eat(byte) { Ok(()) } else { Err(self.bad(wanted)) }
    }

    fn bad(&self, wanted: &'static str) -> Bad {
        Bad { at: self.at, wanted }
    }

    /// The rest of a string whose first quote is behind: its range, and whether it holds escapes.
    #[inline]
    fn string(&mut self) -> Result<(usize, usize, bool), Bad> {
        let start = self.at;
        let mut escaped = false;
        loop {
            // Eight bytes at a time: the lowest high bit of `hits` marks the first quote, backslash or control byte.
            while let Some(chunk) = self.bytes.get(self.at..).and_then(|b| b.first_chunk::<8>()) {
                let word = u64::from_le_bytes(*chunk);
                let (quote, slash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5c));
                let zero = |w: u64| w.wrapping_sub(ONES) & !w;
                let control = word.wrapping_sub(ONES * 0x20) & !word;
                let hits = (zero(quote) | zero(slash) | control) & HIGHS;
                if hits != 0 {
                    self.at += (hits.trailing_zeros() / 8) as usize;
                    break;
                }
                self.at += 8;
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok((start, self.at - 1, escaped));
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                None => return Err(self.bad("the end of a string")),
                Some(byte) if byte < 0x20 => return Err(self.bad("no control characters in a string")),
                Some(_) => self.at += 1,
            }
        }
    }

    /// Checks the form of one escape and steps over it.
    fn escape(&mut self) -> Result<(), Bad> {
        let hex = match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(self.bad("a known escape")),
        };
        let digits =
            self.bytes.get(self.at + 2..self.at + 2 + hex).ok_or_else(|| self.bad("four hexadecimal digits"))?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(self.bad("four hexadecimal digits"));
        }
        self.at += 2 + hex;
        Ok(())
    }

    /// A number: a long if it is whole and fits, else a double.
    #[inline]
    fn number(&mut self) -> Result<Cell, Bad> {
        let start = self.at;
        let negative = self.eat(b'-');
        let first = self.at;
        let mut mantissa = 0u64;
        self.digits(&mut mantissa);
        let whole = self.at - first;
        if whole == 0 || (whole > 1 && self.bytes[first] == b'0') {
            self.at = start;
            return Err(self.bad("a number"));
        }
        if !matches!(self.peek(), Some(b'.' | b'e' | b'E')) {
            if whole <= 18 {
                let n = mantissa as i64;
                return Ok(Cell::Long(if negative { -n } else { n }));
            }
            let text = &self.text[start..self.at];
            return Ok(text.parse().map_or_else(|_| Cell::Double(text.parse().unwrap_or(f64::NAN)), Cell::Long));
        }
        let mut fraction = 0;
        if self.eat(b'.') {
            let after = self.at;
            self.digits(&mut mantissa);
            fraction = self.at - after;
            if fraction == 0 {
                return Err(self.bad("a digit"));
            }
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            let _sign = self.eat(b'-') || self.eat(b'+');
            let after = self.at;
            self.digits(&mut 0);
            if self.at == after {
                return Err(self.bad("a digit"));
            }
        }
        // Exact when both the digits and the power of ten are: one rounding, in the division.
        if !exponent && whole + fraction <= 18 && fraction < TENS.len() && mantissa < 1 << 53 {
            let value = mantissa as f64 / TENS[fraction];
            return Ok(Cell::Double(if negative { -value } else { value }));
        }
        Ok(Cell::Double(self.text[start..self.at].parse().unwrap_or(f64::NAN)))
    }

    #[inline]
    fn digits(&mut self, mantissa: &mut u64) {
        while let Some(digit) = self.peek().map(|b| b.wrapping_sub(b'0')).filter(|d| *d < 10) {
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
    }

    #[inline]
    fn literal(&mut self) -> Result<Cell, Bad> {
        let rest = &self.bytes[self.at..];
        let (len, cell) = if rest.starts_with(b"true") {
            (4, Cell::Bool(true))
        } else if rest.starts_with(b"false") {
            (5, Cell::Bool(false))
        } else if rest.starts_with(b"null") {
            (4, Cell::Null)
        } else {
            return Err(self.bad("a value"));
        };
        self.at += len;
        Ok(cell)
    }

    /// Steps over one value of any kind, checking its form.
    fn skip(&mut self, depth: usize) -> Result<(), Bad> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string().map(|_| ())
            }
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            Some(b'{') => self.skip_all(b'}', depth, true),
            Some(b'[') => self.skip_all(b']', depth, false),
            _ => self.literal().map(|_| ()),
        }
    }

    fn skip_all(&mut self, close: u8, depth: usize, named: bool) -> Result<(), Bad> {
        if depth >= DEPTH_MAX {
            return Err(self.bad("fewer levels of nesting"));
        }
        self.at += 1;
        self.space();
        if self.eat(close) {
            return Ok(());
        }
        loop {
            if named {
                self.expect(b'"', "a field name in quotes")?;
                self.string()?;
                self.space();
                self.expect(b':', "a colon")?;
                self.space();
            }
            self.skip(depth + 1)?;
            self.space();
            if self.eat(close) {
                return Ok(());
            }
            self.expect(
                b',',
                if named { "a comma or the end of the object" } else { "a comma or the end of the list" },
            )?;
            self.space();
        }
    }
}

/// Decodes what stands between the quotes of a string whose escapes have been checked. Half of a surrogate pair becomes
/// the replacement character. `at` is where the text stands in the record.
fn unescape(text: &str, out: &mut String, at: usize) -> Result<(), Bad> {
    let mut rest = text;
    while let Some(slash) = rest.find('\\') {
        out.push_str(&rest[..slash]);
        let bytes = rest.as_bytes();
        let bad = || Bad { at: at + text.len() - rest.len(), wanted: "a known escape" };
        let (c, len) = match bytes.get(slash + 1).copied() {
            Some(b'b') => ('\u{8}', 2),
            Some(b'f') => ('\u{c}', 2),
            Some(b'n') => ('\n', 2),
            Some(b'r') => ('\r', 2),
            Some(b't') => ('\t', 2),
            Some(b'u') => {
                let unit = |at: usize| {
                    let digits = rest.get(at..at + 4)?;
                    u16::from_str_radix(digits, 16).ok()
                };
                let first = unit(slash + 2).ok_or_else(bad)?;
                let second = match bytes.get(slash + 6..slash + 8) {
                    Some(b"\\u") if (0xd800..0xdc00).contains(&first) => unit(slash + 8),
                    _ => None,
                };
                let pair = second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
                match pair {
                    Some(c) => (c, 12),
                    None => (char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
                }
            }
            Some(byte @ (b'"' | b'\\' | b'/')) => (char::from(byte), 2),
            _ => return Err(bad()),
        };
        out.push(c);
        rest = &rest[slash + len..];
    }
    out.push_str(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Parser, Record};
    use crate::spec::{DataSchema, InputFormat};
    use proptest::prelude::*;
    use serde_json::{Map, json};

    fn parser(dimensions: Value, format: Value) -> Parser {
        let schema = json!({
            "dataSource": "d",
            "timestampSpec": {"column": "t", "format": "auto"},
            "dimensionsSpec": dimensions,
            "granularitySpec": {"rollup": false}
        });
        let mut ignored = Vec::new();
        let schema = DataSchema::from_json(&schema, "", &mut ignored).unwrap();
        Parser::new(&schema, &InputFormat::from_json(&format, "", &mut ignored).unwrap()).unwrap()
    }

    fn all() -> Parser {
        parser(json!({}), json!({"type": "json"}))
    }

    /// The rows as JSON: the time under `t`, and each field that is not null.
    fn rows(batch: &RowBatch) -> Vec<Value> {
        let row = |row: usize| {
            let mut map = Map::new();
            map.insert("t".into(), json!(batch.times()[row]));
            for (field, name) in batch.names().iter().enumerate() {
                let value = json_of(batch, batch.cells(field)[row]);
                if !value.is_null() {
                    map.insert(name.clone(), value);
                }
            }
            Value::Object(map)
        };
        (0..batch.rows()).map(row).collect()
    }

    fn json_of(batch: &RowBatch, cell: Cell) -> Value {
        match cell {
            Cell::Null => Value::Null,
            Cell::Bool(b) => json!(b),
            Cell::Long(n) => json!(n),
            Cell::Double(n) => json!(n),
            Cell::Text { .. } => json!(batch.text_of(cell)),
            Cell::Json { .. } => json!(batch.text_of(cell)),
            Cell::List { .. } => batch.list_of(cell).iter().map(|c| json_of(batch, *c)).collect(),
        }
    }

    fn check(parser: &mut Parser, record: &str, expected: Value) {
        let mut batch = RowBatch::new();
        parser.parse(&Record::of(record.as_bytes()), &mut batch).unwrap_or_else(|f| panic!("{record}: {}", f.reason));
        assert_eq!(Value::Array(rows(&batch)), expected, "{record}");
    }

    #[test]
    fn values_of_all_kinds() {
        let record = r#" {"t":1,"s":"a\"\u00e9\ud83d\ude00\\\n","i":-7,"f":1.25,"e":-2.5e-3,"b":true,"n":null,
            "l":[1,"x",null,false],"big":123456789012345678901234567890,"o":{"x":[1,{"y":"}"}]},"empty":[]} "#;
        let expected = json!([{"t":1,"s":"a\"é😀\\\n","i":-7,"f":1.25,"e":-0.0025,"b":true,
            "l":[1,"x",null,false],"big":1.2345678901234568e29,"empty":[]}]);
        check(&mut all(), record, expected);
    }

    #[test]
    fn only_named_fields_are_read_and_nested_ones_as_text() {
        let mut parser = parser(json!({"dimensions": ["a", "o"]}), json!({"type": "json"}));
        let record = r#"{"x":[[1]],"a":"1","t":"2000-01-01","o":{ "k" : [ 1, "a b\" c" ] },"y":{}}"#;
        check(&mut parser, record, json!([{"t": 946_684_800_000i64, "a": "1", "o": r#"{"k":[1,"a b\" c"]}"#}]));
    }

    #[test]
    fn several_objects_are_several_rows_and_one_bad_one_spoils_all() {
        let mut parser = all();
        check(&mut parser, r#"{"t":1,"a":1}{"t":2,"a":2} {"t":3}"#, json!([{"t":1,"a":1},{"t":2,"a":2},{"t":3}]));
        check(&mut parser, "  ", json!([]));
        let mut batch = RowBatch::new();
        parser.parse(&Record::of(br#"{"t":0}"#), &mut batch).unwrap();
        for bad in
            [r#"{"t":1,"a":1}{"t":2,"#, r#"{"t":1}{"a":2}"#, r#"{"t":1} x"#, "[1]", "7", r#"{"t":"x"}"#, r#"{"t":01}"#]
        {
            parser.parse(&Record::of(bad.as_bytes()), &mut batch).expect_err(bad);
            assert_eq!(rows(&batch), [json!({"t": 0})], "{bad}");
        }
        assert!(
            parser.parse(&Record::of(b"{\"t\":1,\"a\":\"\xff\"}"), &mut batch).unwrap_err().reason.contains("UTF-8")
        );
    }

    #[test]
    fn failures_say_where() {
        let reason =
            |record: &str| all().parse(&Record::of(record.as_bytes()), &mut RowBatch::new()).unwrap_err().reason;
        assert_eq!(reason(r#"{"t":1,"a" 2}"#), "invalid JSON at byte 11: expected a colon");
        assert_eq!(reason(r#"{"t":tru}"#), "invalid JSON at byte 5: expected a value");
        assert_eq!(reason(r#"{"a":1}"#), "no timestamp: the column t is missing or null");
        assert!(reason(&format!("{{\"t\":1,\"a\":{}", "[".repeat(100_000))).contains("levels of nesting"));
    }

    #[test]
    fn flattening() {
        let format = json!({"type": "json", "flattenSpec": {"useFieldDiscovery": true, "fields": [
            "plain",
            {"type": "path", "name": "deep", "expr": "$.o.a[1].b"},
            {"type": "jq", "name": "first", "expr": ".o.a[0]"},
            {"type": "path", "name": "all", "expr": "$..b"},
            {"type": "tree", "name": "t", "nodes": ["o", "time"]},
            {"type": "root", "name": "renamed", "expr": "x"}
        ]}});
        let record = r#"{"plain":1,"o":{"a":[5,{"b":"B"}],"time":77},"x":[1,2],"deep":"shadowed"}"#;
        let expected = json!([{"t":77,"plain":1,"deep":"B","first":5,"all":["B"],"renamed":[1,2],"x":[1,2]}]);
        let mut parser_ = parser(json!({}), format.clone());
        let mut batch = RowBatch::new();
        parser_.parse(&Record::of(record.as_bytes()), &mut batch).unwrap();
        assert_eq!(Value::Array(rows(&batch)), expected);
        let mut only = format;
        only["flattenSpec"]["useFieldDiscovery"] = json!(false);
        check(
            &mut parser(json!({}), only),
            record,
            json!([{"t":77,"plain":1,"deep":"B","first":5,"all":["B"],"renamed":[1,2]}]),
        );
    }

    #[test]
    fn a_batch_may_be_cleared_or_new_at_any_time() {
        let mut parser = all();
        let mut batch = RowBatch::new();
        for _ in 0..3 {
            batch.clear();
            parser.parse(&Record::of(br#"{"t":1,"a":1}"#), &mut batch).unwrap();
            parser.parse(&Record::of(br#"{"b":2,"t":2}"#), &mut batch).unwrap();
            assert_eq!(rows(&batch), [json!({"t":1,"a":1}), json!({"t":2,"b":2})]);
        }
        check(&mut parser, r#"{"t":1,"b":1}"#, json!([{"t":1,"b":1}]));
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::from),
            (-1000i64..1000, 0u32..6).prop_map(|(n, d)| Value::from(n as f64 / 10f64.powi(d as i32))),
            ".{0,12}".prop_map(Value::from),
            "\\PC{0,40}".prop_map(Value::from),
        ]
    }

    fn value() -> impl Strategy<Value = Value> {
        scalar().prop_recursive(3, 12, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((".{0,4}", inner), 0..4).prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    /// What discovery keeps of a field.
    fn kept(value: &Value) -> bool {
        match value {
            Value::Null | Value::Object(_) => false,
            Value::Array(list) => list.iter().all(|v| !v.is_array() && !v.is_object()),
            _ => true,
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde(
            objects in prop::collection::vec(prop::collection::btree_map("[a-e\"\\\\é]{1,2}", value(), 0..6), 1..6),
            pretty in any::<bool>(),
        ) {
            let mut record = String::new();
            let mut expected = Vec::new();
            for (i, object) in objects.into_iter().enumerate() {
                let mut map: Map<String, Value> = object.into_iter().collect();
                map.insert("t".into(), json!(i));
                let object = Value::Object(map);
                record += &if pretty { serde_json::to_string_pretty(&object).unwrap() } else { object.to_string() };
                let Value::Object(map) = object else { unreachable!() };
                expected.push(Value::Object(map.into_iter().filter(|(_, v)| kept(v)).collect()));
            }
            let mut batch = RowBatch::new();
            all().parse(&Record::of(record.as_bytes()), &mut batch).map_err(|f| TestCaseError::fail(f.reason))?;
            let found = rows(&batch);
            prop_assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                prop_assert_eq!(found.as_object().unwrap().len(), expected.as_object().unwrap().len());
                for (name, value) in expected.as_object().unwrap() {
                    prop_assert_eq!(&found[name], value);
                }
            }
        }

        #[test]
        fn garbage_is_refused_where_serde_refuses_it(record in "[{}\\[\\]\",:0-9a-ftrue.\\\\-]{0,40}", at in 0usize..60, byte in any::<u8>()) {
            let mut bytes = br#"{"t":5,"a":[1,"x"],"b":{"c":-0.5e3},"d":"\u0041"}"#.to_vec();
            if at < bytes.len() {
                bytes[at] = byte;
            }
            for bytes in [record.into_bytes(), bytes] {
                let ours = all().parse(&Record::of(&bytes), &mut RowBatch::new());
                let theirs: Result<Vec<Map<String, Value>>, _> =
                    serde_json::Deserializer::from_slice(&bytes).into_iter::<Map<String, Value>>().collect();
                if theirs.is_err() {
                    prop_assert!(ours.is_err());
                } else if let Err(failure) = ours {
                    prop_assert!(failure.reason.contains("timestamp"), "{}", failure.reason);
                }
            }
        }

        #[test]
        fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = all().parse(&Record::of(&bytes), &mut RowBatch::new());
        }
    }
}
