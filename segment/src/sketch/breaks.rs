//! Druid's legacy `histogram`: how many values lie between given breaks.

use serde_json::{Value as Json, json};

use super::number;

/// Breaks of one histogram: an answer shows all of them for each group.
pub const BREAKS_MAX: usize = 4096;

#[derive(Debug, Clone, PartialEq)]
pub struct Breaks {
    /// How many values lie up to each break and above the one before it; the last, how many lie above all.
    counts: Counts,
    min: f32,
    max: f32,
}

/// A group of few values hits few bins, and there may be many groups.
#[derive(Debug, Clone, PartialEq)]
enum Counts {
    /// Bins that were hit, of so many, in their order. At most a quarter: more take less room in full.
    Few {
        bins: usize,
        hit: Vec<(u32, u64)>,
    },
    All(Vec<u64>),
}

impl Counts {
    fn len(&self) -> usize {
        match self {
            Counts::Few { bins, .. } => *bins,
            Counts::All(counts) => counts.len(),
        }
    }

    fn add(&mut self, bin: usize, count: u64) {
        if count == 0 {
            return;
        }
        if let Counts::Few { bins, hit } = self {
            match hit.binary_search_by_key(&(bin as u32), |(bin, _)| *bin) {
                Ok(at) => return hit[at].1 += count,
                Err(at) if hit.len() < *bins / 4 => return hit.insert(at, (bin as u32, count)),
                Err(_) => {}
            }
            *self = Counts::All(self.all());
        }
        if let Counts::All(counts) = self {
            counts[bin] += count;
        }
    }

    /// The count of every bin.
    fn all(&self) -> Vec<u64> {
        match self {
            Counts::All(counts) => counts.clone(),
            Counts::Few { bins, hit } => {
                let mut counts = vec![0; *bins];
                hit.iter().for_each(|(bin, count)| counts[*bin as usize] = *count);
                counts
            }
        }
    }

    fn size_bytes(&self) -> usize {
        match self {
            Counts::Few { hit, .. } => hit.capacity() * size_of::<(u32, u64)>(),
            Counts::All(counts) => counts.len() * size_of::<u64>(),
        }
    }
}

impl Breaks {
    pub fn new(breaks: &[f32]) -> Breaks {
        Breaks::of(breaks.len() + 1)
    }

    fn of(bins: usize) -> Breaks {
        Breaks { counts: Counts::Few { bins, hit: Vec::new() }, min: f32::MAX, max: -f32::MAX }
    }

    /// `breaks` ascend.
    pub fn add(&mut self, breaks: &[f32], value: f32) {
        let at = breaks.partition_point(|at| *at < value);
        // Java orders NaN above all numbers.
        let at = if value.is_nan() { breaks.len() } else { at };
        self.counts.add(at, 1);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// `false` if the other has other breaks.
    pub fn merge(&mut self, other: &Breaks) -> bool {
        if self.counts.len() != other.counts.len() {
            return false;
        }
        match &other.counts {
            Counts::Few { hit, .. } => hit.iter().for_each(|(bin, count)| self.counts.add(*bin as usize, *count)),
            Counts::All(counts) => counts.iter().enumerate().for_each(|(bin, count)| self.counts.add(bin, *count)),
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        true
    }

    /// How many bins there are: one before, between and after the breaks each.
    pub fn bins(&self) -> usize {
        self.counts.len()
    }

    /// What Druid shows of it: the counts between the breaks, none of what lies outside, and the least and largest value.
    pub fn shown(&self, breaks: &[f32]) -> Json {
        let doubles = |values: &[f32]| values.iter().map(|value| number(f64::from(*value))).collect::<Vec<Json>>();
        let all = self.counts.all();
        let between = all.get(1..breaks.len()).unwrap_or_default();
        let counts: Vec<f64> = between.iter().map(|count| f64::from(*count as f32)).collect();
        json!({"breaks": doubles(breaks), "counts": counts, "quantiles": doubles(&[self.min, self.max])})
    }

    pub fn write(&self) -> Vec<u8> {
        let ends = [self.min, self.max].into_iter().flat_map(f32::to_be_bytes);
        ends.chain(self.counts.all().into_iter().flat_map(|count| count.to_be_bytes())).collect()
    }

    pub fn read(bytes: &[u8]) -> Option<Breaks> {
        let (min, rest) = bytes.split_first_chunk::<4>()?;
        let (max, rest) = rest.split_first_chunk::<4>()?;
        let (counts, odd) = rest.as_chunks::<8>();
        let fits = odd.is_empty() && (2..=BREAKS_MAX + 1).contains(&counts.len());
        fits.then(|| {
            let mut read = Breaks::of(counts.len());
            (read.min, read.max) = (f32::from_be_bytes(*min), f32::from_be_bytes(*max));
            counts.iter().enumerate().for_each(|(bin, count)| read.counts.add(bin, u64::from_be_bytes(*count)));
            read
        })
    }

    pub fn size_bytes(&self) -> usize {
        size_of::<Breaks>() + self.counts.size_bytes()
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

    #[test]
    fn what_few_values_hit_takes_little_room_and_the_counts_are_the_same_in_full() {
        let breaks: Vec<f32> = (0..4096).map(|at| at as f32).collect();
        let mut few = Breaks::new(&breaks);
        (0..10).for_each(|value| few.add(&breaks, (value * 400) as f32));
        assert!(few.size_bytes() < 1000, "{}", few.size_bytes());
        let (mut many, mut merged) = (Breaks::new(&breaks), few.clone());
        for value in 0..4096 {
            many.add(&breaks, value as f32);
        }
        assert!(many.size_bytes() >= 4097 * 8);
        assert!(merged.merge(&many));
        assert!(many.merge(&few));
        assert_eq!(merged, many);
        assert_eq!(Breaks::read(&merged.write()), Some(merged.clone()));
        assert_eq!(Breaks::read(&few.write()), Some(few));
        let counts = merged.shown(&breaks)["counts"].clone();
        let expected: Vec<f64> =
            (1..4096).map(|value| if value % 400 == 0 && value < 4000 { 2.0 } else { 1.0 }).collect();
        assert_eq!(counts, json!(expected));
    }

    #[test]
    fn what_is_beyond_floats_is_told_by_its_name() {
        let breaks = [f32::NEG_INFINITY, 0.0, f32::INFINITY];
        let mut all = Breaks::new(&breaks);
        [1.0, f32::INFINITY].into_iter().for_each(|value| all.add(&breaks, value));
        assert_eq!(
            all.shown(&breaks),
            json!({"breaks": ["-Infinity", 0.0, "Infinity"], "counts": [0.0, 2.0], "quantiles": [1.0, "Infinity"]})
        );
    }
}
