//! Sets of row numbers: what a column's index answers with.

/// Rows that hold a value, read in place.
pub struct Bitmap<'a> {
    form: Form<'a>,
}

enum Form<'a> {
    /// Bit `r % 64` of word `r / 64`.
    Words(&'a [u64]),
}

impl<'a> Bitmap<'a> {
    pub(crate) fn words(words: &'a [u64]) -> Bitmap<'a> {
        Bitmap { form: Form::Words(words) }
    }

    pub fn count(&self) -> u64 {
        match &self.form {
            Form::Words(words) => words.iter().map(|w| u64::from(w.count_ones())).sum(),
        }
    }

    /// Sets the bits of its rows in `words` (bit `r % 64` of word `r / 64`). Rows past the end of `words` are left out.
    pub fn or_into(&self, words: &mut [u64]) {
        match &self.form {
            Form::Words(own) => words.iter_mut().zip(*own).for_each(|(w, o)| *w |= o),
        }
    }
}
