//! The ids of a block's rows: one each, one for all, or one for each run.

use super::Space;

/// Rows of a block that are looked at. All of them are seen by whoever asks.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub start: usize,
    pub len: usize,
    /// Places in the block, in order, perhaps repeated; `None` is all.
    pub list: Option<&'a [u32]>,
}

impl Rows<'_> {
    pub fn count(&self) -> usize {
        self.list.map_or(self.len, <[u32]>::len)
    }
}

/// For how many rows an id stands.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Shape {
    #[default]
    Each,
    /// One id stands for all rows.
    One,
    /// Ids of runs of rows, and where they end.
    Runs(Vec<u32>),
}

/// Ids of the rows of a block.
#[derive(Debug, Default)]
pub struct Ids {
    pub shape: Shape,
    /// Ids of narrow spaces.
    pub ids: Vec<u32>,
    /// Values of wide spaces.
    pub wide: Vec<u64>,
    /// As long as `wide`, or empty if none is null.
    pub nulls: Vec<bool>,
    pub is_wide: bool,
}

impl Ids {
    pub fn clear(&mut self, is_wide: bool) {
        self.ids.clear();
        self.wide.clear();
        self.nulls.clear();
        self.is_wide = is_wide;
        self.shape = Shape::Each;
    }

    /// Adds a function of each row's id to the numbers of the rows.
    pub fn add_to(&self, out: &mut [u64], of: impl Fn(u32) -> u64) {
        match &self.shape {
            Shape::Each => out.iter_mut().zip(&self.ids).for_each(|(out, id)| *out += of(*id)),
            Shape::One => {
                let add = of(self.ids[0]);
                out.iter_mut().for_each(|out| *out += add);
            }
            Shape::Runs(ends) => {
                let mut begin = 0;
                for (end, id) in ends.iter().zip(&self.ids) {
                    let add = of(*id);
                    out[begin..*end as usize].iter_mut().for_each(|out| *out += add);
                    begin = *end as usize;
                }
            }
        }
    }

    /// As `add_to`, for wide ids too. They have no nulls.
    pub fn add_to_wide(&self, out: &mut [u64], of: impl Fn(u64) -> u64) {
        if !self.is_wide {
            return self.add_to(out, |id| of(id as u64));
        }
        self.each_wide(out.len(), |row, value, _| out[row] |= of(value));
    }

    /// Writes each row's id into the rows of words, and its null into their last word.
    pub fn scatter(&self, words: &mut [u64], width: usize, key: usize) {
        let rows = words.len() / width;
        if self.is_wide {
            self.each_wide(rows, |row, value, null| {
                words[row * width + key] = if null { 0 } else { value };
                words[row * width + width - 1] |= (null as u64) << key;
            });
        } else {
            let mut place = 0;
            match &self.shape {
                Shape::Each => self.ids.iter().enumerate().for_each(|(row, id)| words[row * width + key] = *id as u64),
                Shape::One => (0..rows).for_each(|row| words[row * width + key] = self.ids[0] as u64),
                Shape::Runs(ends) => {
                    for (end, id) in ends.iter().zip(&self.ids) {
                        for row in place..*end as usize {
                            words[row * width + key] = *id as u64;
                        }
                        place = *end as usize;
                    }
                }
            }
        }
    }

    pub fn each_wide(&self, rows: usize, mut each: impl FnMut(usize, u64, bool)) {
        let null = |i: usize| !self.nulls.is_empty() && self.nulls[i];
        match &self.shape {
            Shape::Each => (0..rows).for_each(|row| each(row, self.wide[row], null(row))),
            Shape::One => (0..rows).for_each(|row| each(row, self.wide[0], null(0))),
            Shape::Runs(ends) => {
                let mut begin = 0;
                for (i, end) in ends.iter().enumerate() {
                    (begin..*end as usize).for_each(|row| each(row, self.wide[i], null(i)));
                    begin = *end as usize;
                }
            }
        }
    }

    /// The id of a run (or of all rows), `None` for a wide null.
    pub fn first(&self, run: usize) -> Option<u64> {
        if self.is_wide {
            (self.nulls.is_empty() || !self.nulls[run]).then(|| self.wide[run])
        } else {
            Some(self.ids[run] as u64)
        }
    }

    /// Takes the ids of the given places.
    pub fn repeat(&mut self, places: &[u32]) {
        let at = |place: &u32| *place as usize;
        if self.is_wide {
            self.wide = places.iter().map(|p| self.wide[at(p)]).collect();
            if !self.nulls.is_empty() {
                self.nulls = places.iter().map(|p| self.nulls[at(p)]).collect();
            }
        } else {
            self.ids = places.iter().map(|p| self.ids[at(p)]).collect();
        }
    }

    pub fn push_null(&mut self, space: &Space) {
        if self.is_wide {
            self.wide.push(0);
            self.nulls.resize(self.wide.len() - 1, false);
            self.nulls.push(true);
        } else {
            self.ids.push(space.null());
        }
    }
}
