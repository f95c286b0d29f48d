//! Druid's legacy `histogram`: how many values lie between given breaks.

use serde_json::{Value as Json, json};

/// Breaks of one histogram.
pub const BREAKS_MAX: usize = 1 << 16;

#[derive(Debug, Clone, PartialEq)]
pub struct Breaks {
    /// How many values lie up to each break and above the one before it; the last, how many lie above all.
    counts: Vec<u64>,
    min: f32,
    max: f32,
}

impl Breaks {
    pub fn new(breaks: &[f32]) -> Breaks {
        Breaks { counts: vec![0; breaks.len() + 1], min: f32::MAX, max: -f32::MAX }
    }

    /// `breaks` ascend.
    pub fn add(&mut self, breaks: &[f32], value: f32) {
        let at = breaks.partition_point(|at| *at < value);
        // Java orders NaN above all numbers.
        let at = if value.is_nan() { breaks.len() } else { at };
        self.counts[at] += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// `false` if the other has other breaks.
    pub fn merge(&mut self, other: &Breaks) -> bool {
        if self.counts.len() != other.counts.len() {
            return false;
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        true
    }

    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// What Druid shows of it: the counts between the breaks, none of what lies outside, and the least and largest value.
    pub fn shown(&self, breaks: &[f32]) -> Json {
        let doubles = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
        let between = self.counts.get(1..breaks.len()).unwrap_or_default();
        let counts: Vec<f64> = between.iter().map(|count| f64::from(*count as f32)).collect();
        json!({"breaks": doubles(breaks), "counts": counts, "quantiles": doubles(&[self.min, self.max])})
    }

    pub fn write(&self) -> Vec<u8> {
        let ends = [self.min, self.max].into_iter().flat_map(f32::to_be_bytes);
        ends.chain(self.counts.iter().flat_map(|count| count.to_be_bytes())).collect()
    }

    pub fn read(bytes: &[u8]) -> Option<Breaks> {
        let (min, rest) = bytes.split_first_chunk::<4>()?;
        let (max, rest) = rest.split_first_chunk::<4>()?;
        let (counts, odd) = rest.as_chunks::<8>();
        let fits = odd.is_empty() && (2..=BREAKS_MAX + 1).contains(&counts.len());
        fits.then(|| Breaks {
            counts: counts.iter().map(|count| u64::from_be_bytes(*count)).collect(),
            min: f32::from_be_bytes(*min),
            max: f32::from_be_bytes(*max),
        })
    }

    pub fn size_bytes(&self) -> usize {
        size_of::<Breaks>() + self.counts.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lie_between_breaks() {
        let breaks = [-1.0, 0.0, 10.0];
        let mut all = Breaks::new(&breaks);
        [-2.0, -1.0, -0.5, 0.0, 0.5, 10.0, 10.5, 3.0].into_iter().for_each(|value| all.add(&breaks, value));
        assert_eq!(
            all.shown(&breaks),
            json!({"breaks": [-1.0, 0.0, 10.0], "counts": [2.0, 3.0], "quantiles": [-2.0, 10.5]})
        );
        let mut twice = Breaks::read(&all.write()).unwrap();
        assert_eq!(twice, all);
        assert!(twice.merge(&all));
        assert_eq!(twice.shown(&breaks)["counts"], json!([4.0, 6.0]));
        assert!(!twice.merge(&Breaks::new(&[1.0])));
        assert_eq!(Breaks::read(b"short"), None);
    }
}
