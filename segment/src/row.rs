//! Rows on their way into an index: a batch of parsed events, field by field.
//!
//! Parsers fill a [`RowBatch`] (strings go to one arena, nothing is allocated per event), transforms add fields and drop
//! rows, the realtime index appends it column by column. It is reused from batch to batch: `clear` keeps the memory.

use crate::block::Value;

/// One field of one row. Text is a range of the batch's arena; a list is a range of its list cells.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Cell {
    /// Absent or JSON null.
    #[default]
    Null,
    Bool(bool),
    Long(i64),
    Double(f64),
    Text {
        start: u32,
        len: u32,
    },
    List {
        start: u32,
        len: u32,
    },
    /// An object, or a list with lists or objects in it: the text of its JSON, without spaces.
    Json {
        start: u32,
        len: u32,
    },
}

/// A batch of rows. Every vector in `fields` is as long as `times` (call [`RowBatch::finish_row`] after each row).
#[derive(Debug, Default, Clone)]
pub struct RowBatch {
    names: Vec<String>,
    cells: Vec<Vec<Cell>>,
    times: Vec<i64>,
    arena: String,
    list_cells: Vec<Cell>,
}

/// A place in a batch, for [`RowBatch::rollback`].
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    rows: usize,
    arena: usize,
    list_cells: usize,
}

impl RowBatch {
    pub fn new() -> RowBatch {
        RowBatch::default()
    }

    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Bytes of the arena in use: what the batch costs beyond its cells.
    pub fn arena_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Forgets the rows, keeps the fields and the memory.
    pub fn clear(&mut self) {
        self.times.clear();
        self.arena.clear();
        self.list_cells.clear();
        self.cells.iter_mut().for_each(Vec::clear);
    }

    /// The index of a field, added (null in the rows so far) if it is new.
    pub fn field(&mut self, name: &str) -> usize {
        if let Some(idx) = self.find(name) {
            return idx;
        }
        self.names.push(name.to_string());
        self.cells.push(vec![Cell::Null; self.times.len()]);
        self.names.len() - 1
    }

    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|n| n == name)
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn times(&self) -> &[i64] {
        &self.times
    }

    pub fn times_mut(&mut self) -> &mut [i64] {
        &mut self.times
    }

    pub fn cells(&self, field: usize) -> &[Cell] {
        &self.cells[field]
    }

    pub fn cells_mut(&mut self, field: usize) -> &mut [Cell] {
        &mut self.cells[field]
    }

    /// Sets a field of the row that is being built; the last set wins, as in a JSON object with a repeated key.
    pub fn set(&mut self, field: usize, cell: Cell) {
        let row = self.times.len();
        let cells = &mut self.cells[field];
        if cells.len() > row {
            cells[row] = cell;
        } else {
            cells.push(cell);
        }
    }

    /// Copies text into the arena.
    pub fn text(&mut self, text: &str) -> Cell {
        let start = self.arena.len() as u32;
        self.arena.push_str(text);
        Cell::Text { start, len: text.len() as u32 }
    }

    /// Copies the text of a JSON document into the arena.
    pub fn json(&mut self, text: &str) -> Cell {
        let start = self.arena.len() as u32;
        self.arena.push_str(text);
        Cell::Json { start, len: text.len() as u32 }
    }

    /// Writes text straight into the arena: `write` appends to it and changes nothing before.
    pub fn text_with(&mut self, write: impl FnOnce(&mut String)) -> Cell {
        let start = self.arena.len();
        write(&mut self.arena);
        Cell::Text { start: start as u32, len: (self.arena.len() - start) as u32 }
    }

    pub fn list(&mut self, cells: &[Cell]) -> Cell {
        let start = self.list_cells.len() as u32;
        self.list_cells.extend_from_slice(cells);
        Cell::List { start, len: cells.len() as u32 }
    }

    /// Closes the row that was being built: fields not set are null.
    pub fn finish_row(&mut self, time: i64) {
        self.times.push(time);
        let rows = self.times.len();
        for cells in &mut self.cells {
            cells.resize(rows, Cell::Null);
        }
    }

    /// Adds rows whose fields are all null, to be set column by column with [`RowBatch::cells_mut`].
    pub fn add_rows(&mut self, times: &[i64]) {
        self.times.extend_from_slice(times);
        let rows = self.times.len();
        self.cells.iter_mut().for_each(|cells| cells.resize(rows, Cell::Null));
    }

    /// Takes back the row that was being built (it could not be parsed).
    pub fn abandon_row(&mut self) {
        let rows = self.times.len();
        self.cells.iter_mut().for_each(|c| c.truncate(rows));
    }

    /// Where the batch stands, to come back to with [`RowBatch::rollback`].
    pub fn mark(&self) -> Mark {
        Mark { rows: self.times.len(), arena: self.arena.len(), list_cells: self.list_cells.len() }
    }

    /// Takes back all rows since the mark, and the one that was being built. Fields stay.
    pub fn rollback(&mut self, mark: Mark) {
        self.times.truncate(mark.rows);
        self.arena.truncate(mark.arena);
        self.list_cells.truncate(mark.list_cells);
        self.cells.iter_mut().for_each(|c| c.truncate(mark.rows));
    }

    /// The text of a text or JSON cell made by this batch. Panics on a cell of another kind.
    pub fn text_of(&self, cell: Cell) -> &str {
        let (Cell::Text { start, len } | Cell::Json { start, len }) = cell else { panic!("not a text cell") };
        &self.arena[start as usize..(start + len) as usize]
    }

    pub fn list_of(&self, cell: Cell) -> &[Cell] {
        let Cell::List { start, len } = cell else { panic!("not a list cell") };
        &self.list_cells[start as usize..(start + len) as usize]
    }

    pub fn value(&self, cell: Cell) -> Value {
        match cell {
            Cell::Null => Value::Null,
            Cell::Bool(b) => Value::Long(b as i64),
            Cell::Long(v) => Value::Long(v),
            Cell::Double(v) => Value::Double(v),
            Cell::Text { .. } => Value::text(self.text_of(cell)),
            Cell::Json { .. } => Value::Json(self.text_of(cell).into()),
            Cell::List { .. } => Value::List(self.list_of(cell).iter().map(|c| self.value(*c)).collect()),
        }
    }
}
