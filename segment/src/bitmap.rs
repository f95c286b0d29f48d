//! Sets of row numbers: roaring bitmaps in the file (portable format, read in place), plain bitsets where they are dense.

/// Rows that hold a value, read in place from a file.
pub struct Bitmap<'a> {
    _file: std::marker::PhantomData<&'a ()>,
}

impl Bitmap<'_> {
    pub fn count(&self) -> u64 {
        todo!()
    }

    /// Sets the bits of its rows in `words` (bit `r % 64` of word `r / 64`).
    pub fn or_into(&self, words: &mut [u64]) {
        let _ = words;
        todo!()
    }
}
