//! The classic quantiles sketch of doubles of Apache DataSketches, in the bytes that Druid keeps
//! (`quantilesDoublesSketch`).
//!
//! 1. Values gather in a base buffer of `2k`. Full, it is sorted, and every second value moves on as a level of `k` values
//!    that weigh 2 each.
//! 2. A level that is taken already is merged with the newcomer, and every second value of the two moves up, weighing
//!    twice as much.
//! 3. A rank is then the weight of the values below, right within [`Doubles::rank_error`].
//!
//! Up to `2k` values are kept as they are and answers are exact. Which of two neighbours stays is drawn from a sequence
//! that starts the same for each sketch: equal steps, equal sketches.

use std::fmt::Write;

#[derive(Debug, Clone, PartialEq)]
pub struct Doubles {
    k: u16,
    n: u64,
    min: f64,
    max: f64,
    base: Vec<f64>,
    /// Sorted, each empty or of `k` values; those of level `i` weigh `2^(i + 1)`.
    levels: Vec<Vec<f64>>,
    /// Where the drawing stands.
    random: u64,
}

pub const K_DEFAULT: u16 = 128;

const FAMILY: u8 = 8;
const SERIAL_VERSION: u8 = 3;
const READ_ONLY: u8 = 2;
const EMPTY: u8 = 4;
const COMPACT: u8 = 8;
const ORDERED: u8 = 16;
/// Levels of a sketch of more values than there are.
const LEVELS_MAX: usize = 62;

impl Doubles {
    /// `k` is a power of two from 2 to 32768.
    pub fn new(k: u16) -> Doubles {
        let k = k.clamp(2, 1 << 15).next_power_of_two();
        Doubles {
            k,
            n: 0,
            min: f64::NAN,
            max: f64::NAN,
            base: Vec::new(),
            levels: Vec::new(),
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    pub fn k(&self) -> u16 {
        self.k
    }

    /// Values seen.
    pub fn n(&self) -> u64 {
        self.n
    }

    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// NaN if nothing was seen, as the largest.
    pub fn min(&self) -> f64 {
        self.min
    }

    pub fn max(&self) -> f64 {
        self.max
    }

    pub fn retained(&self) -> usize {
        self.base.len() + self.levels.iter().map(Vec::len).sum::<usize>()
    }

    /// How far a rank is off at most, with a probability of 99 %; `distribution`: those of a whole histogram.
    pub fn rank_error(&self, distribution: bool) -> f64 {
        let k = f64::from(self.k);
        if distribution { 1.854 / k.powf(0.9657) } else { 1.576 / k.powf(0.9726) }
    }

    /// NaN is left out.
    pub fn update(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        self.bound(value, value);
        self.n += 1;
        self.push(value);
    }

    fn bound(&mut self, min: f64, max: f64) {
        self.min = if self.min.is_nan() { min } else { self.min.min(min) };
        self.max = if self.max.is_nan() { max } else { self.max.max(max) };
    }

    /// A value that is counted already.
    fn push(&mut self, value: f64) {
        self.base.push(value);
        if self.base.len() == 2 * self.k as usize {
            let mut base = std::mem::take(&mut self.base);
            base.sort_unstable_by(f64::total_cmp);
            let level = self.halve(&base);
            base.clear();
            self.base = base;
            self.carry(0, level);
        }
    }

    fn toss(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize
    }

    fn halve(&mut self, sorted: &[f64]) -> Vec<f64> {
        let first = self.toss() & 1;
        sorted.iter().skip(first).step_by(2).copied().collect()
    }

    /// Puts `k` sorted values to a level, or up from there.
    fn carry(&mut self, from: usize, level: Vec<f64>) {
        let (mut at, mut moving) = (from, level);
        loop {
            if self.levels.len() <= at {
                self.levels.resize_with(at + 1, Vec::new);
            }
            if self.levels[at].is_empty() {
                self.levels[at] = moving;
                return;
            }
            let both = merged(&self.levels[at], &moving);
            self.levels[at].clear();
            moving = self.halve(&both);
            at += 1;
        }
    }

    /// The result has the smaller `k` of the two.
    pub fn merge(&mut self, other: &Doubles) {
        if other.n == 0 {
            return;
        }
        if other.k < self.k {
            let mut narrow = Doubles { random: self.random, ..Doubles::new(other.k) };
            narrow.take(self);
            *self = narrow;
        }
        self.take(other);
    }

    /// Takes a sketch of at least this `k`.
    fn take(&mut self, other: &Doubles) {
        if other.n == 0 {
            return;
        }
        self.bound(other.min, other.max);
        self.n += other.n;
        other.base.iter().for_each(|value| self.push(*value));
        let stride = (other.k / self.k) as usize;
        let up = stride.trailing_zeros() as usize;
        for (at, level) in other.levels.iter().enumerate().filter(|(_, level)| !level.is_empty()) {
            let first = if stride > 1 { self.toss() % stride } else { 0 };
            let level = level.iter().skip(first).step_by(stride).copied().collect();
            self.carry(at + up, level);
        }
    }

    /// Values and weights, ascending.
    pub fn weighted(&self) -> Vec<(f64, u64)> {
        let mut all: Vec<(f64, u64)> = self.base.iter().map(|value| (*value, 1)).collect();
        for (at, level) in self.levels.iter().enumerate() {
            all.extend(level.iter().map(|value| (*value, 2u64 << at)));
        }
        all.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        all
    }

    /// The bytes that Druid keeps: compact and sorted.
    pub fn write(&self) -> Vec<u8> {
        let preamble = if self.n == 0 { 1 } else { 2 };
        let flags = READ_ONLY | COMPACT | ORDERED | if self.n == 0 { EMPTY } else { 0 };
        let mut bytes = vec![preamble, SERIAL_VERSION, FAMILY, flags];
        bytes.extend(self.k.to_le_bytes());
        bytes.extend([0, 0]);
        if self.n == 0 {
            return bytes;
        }
        let mut base = self.base.clone();
        base.sort_unstable_by(f64::total_cmp);
        bytes.extend(self.n.to_le_bytes());
        let kept = base.iter().chain(self.levels.iter().flatten());
        for value in [self.min, self.max].iter().chain(kept) {
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    pub fn read(bytes: &[u8]) -> Option<Doubles> {
        let [preamble, version, family, flags, k0, k1, ..] = *bytes else { return None };
        let k = u16::from_le_bytes([k0, k1]);
        let sound = family == FAMILY && version == SERIAL_VERSION && k.is_power_of_two() && (2..=1 << 15).contains(&k);
        if !sound {
            return None;
        }
        let mut sketch = Doubles::new(k);
        if flags & EMPTY != 0 {
            return Some(sketch);
        }
        if preamble != 2 {
            return None;
        }
        sketch.n = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
        let rest = bytes.get(16..)?;
        let mut values = rest.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default()));
        sketch.min = values.next()?;
        sketch.max = values.next()?;
        let width = 2 * k as usize;
        let (pattern, in_base) = (sketch.n / width as u64, (sketch.n % width as u64) as usize);
        let compact = flags & COMPACT != 0;
        let mut next = |count: usize| -> Option<Vec<f64>> {
            let some: Vec<f64> = values.by_ref().take(count).collect();
            (some.len() == count && some.iter().all(|value| !value.is_nan())).then_some(some)
        };
        sketch.base = next(in_base)?;
        let count = 64 - pattern.leading_zeros() as usize;
        if count > LEVELS_MAX {
            return None;
        }
        if !compact && count > 0 {
            next(width - in_base)?;
        }
        for level in 0..count {
            let taken = pattern >> level & 1 == 1;
            let values = if taken || !compact { next(k as usize)? } else { Vec::new() };
            if taken && !values.is_sorted_by(|a, b| a <= b) {
                return None;
            }
            sketch.levels.push(if taken { values } else { Vec::new() });
        }
        Some(sketch)
    }

    /// What people read, as DataSketches prints it.
    pub fn describe(&self) -> String {
        let width = 2 * u64::from(self.k);
        let pattern = self.n / width;
        let total = 64 - pattern.leading_zeros();
        let capacity = match total {
            0 => self.base.len().next_power_of_two().max(4).min(width as usize),
            levels => width as usize + levels as usize * self.k as usize,
        };
        let bytes = |values: usize| if self.n == 0 { 8 } else { values * 8 + 32 };
        let mut out = String::from("\n### Quantiles HeapUpdateDoublesSketch SUMMARY: \n");
        let mut line = |name: &str, value: String| {
            writeln!(out, "   {name:<29}: {value}").expect("writing to a string cannot fail");
        };
        line("Empty", self.is_empty().to_string());
        line("Memory, Capacity bytes", "false, ".to_string());
        line("Estimation Mode", (total > 0).to_string());
        line("K", self.k.to_string());
        line("N", thousands(self.n));
        line("Levels (Needed, Total, Valid)", format!("{total}, {total}, {}", pattern.count_ones()));
        line("Level Bit Pattern", format!("{pattern:b}"));
        line("BaseBufferCount", self.base.len().to_string());
        line("Combined Buffer Capacity", thousands(capacity as u64));
        line("Retained Items", thousands(self.retained() as u64));
        line("Compact Storage Bytes", thousands(bytes(self.retained()) as u64));
        line("Updatable Storage Bytes", thousands(bytes(capacity) as u64));
        line("Normalized Rank Error", format!("{:.3}%", self.rank_error(false) * 100.0));
        line("Normalized Rank Error (PMF)", format!("{:.3}%", self.rank_error(true) * 100.0));
        line("Min Item", exponential(self.min));
        line("Max Item", exponential(self.max));
        out.push_str("### END SKETCH SUMMARY\n");
        out
    }
}

fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// As C and Java print `%e`.
fn exponential(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_string();
    }
    let text = format!("{value:.6e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

fn merged(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i] <= b[j] {
            out.push(a[i]);
            i += 1;
        } else {
            out.push(b[j]);
            j += 1;
        }
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(k: u16, values: impl Iterator<Item = f64>) -> Doubles {
        let mut sketch = Doubles::new(k);
        values.for_each(|value| sketch.update(value));
        sketch
    }

    /// The largest difference of a rank to the true one, for values `0..n`.
    fn worst(sketch: &Doubles, n: u64) -> f64 {
        let (mut below, mut worst) = (0, 0.0f64);
        for (value, weight) in sketch.weighted() {
            below += weight;
            worst = worst.max((below as f64 - (value + 1.0)).abs() / n as f64);
        }
        assert_eq!(below, n);
        worst
    }

    #[test]
    fn ranks_are_right_within_the_error_however_the_values_come() {
        let n = 200_000u64;
        for k in [32, 128] {
            let shuffled = |i: u64| (i * 7919 % n) as f64;
            let whole = of(k, (0..n).map(shuffled));
            assert!(worst(&whole, n) < 2.0 * whole.rank_error(true), "{k} {}", worst(&whole, n));
            let mut merged = Doubles::new(k);
            for part in 0..50 {
                merged.merge(&of(k, (0..n).filter(|i| i % 50 == part).map(shuffled)));
            }
            assert_eq!(merged.n(), n);
            assert!(worst(&merged, n) < 2.0 * merged.rank_error(true), "{k} {}", worst(&merged, n));
        }
    }

    #[test]
    fn sketches_of_different_k_meet_at_the_smaller() {
        let (small, large) = (of(16, (0..10_000).map(f64::from)), of(64, (10_000..50_000).map(f64::from)));
        for (mut a, b) in [(small.clone(), large.clone()), (large, small)] {
            a.merge(&b);
            assert_eq!((a.k(), a.n(), a.min(), a.max()), (16, 50_000, 0.0, 49_999.0));
            assert!(worst(&a, 50_000) < 2.0 * a.rank_error(true));
        }
    }

    #[test]
    fn bytes_are_those_of_druid_and_come_back() {
        assert_eq!(Doubles::new(128).write(), [1, 3, 8, 0x1e, 128, 0, 0, 0]);
        for n in [0, 1, 255, 256, 257, 5000] {
            let sketch = of(128, (0..n).map(f64::from));
            let back = Doubles::read(&sketch.write()).unwrap();
            assert_eq!(back.weighted(), sketch.weighted());
            assert_eq!(back.write(), sketch.write());
        }
        for cut in 0..80 {
            assert!(Doubles::read(&of(128, (0..6).map(f64::from)).write()[..cut]).is_none_or(|s| s.is_empty()));
        }
    }
}
