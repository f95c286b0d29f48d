//! Druid's approximate histogram (`approxHistogram`; Ben-Haim and Tom-Tov, "A streaming parallel decision tree
//! algorithm"): the values themselves while there are few, then bins of which the closest two are joined. In Druid's bytes.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::{Reader, number};

#[derive(Debug, Clone)]
pub struct Histogram {
    size: usize,
    /// Ascending by position.
    bins: Vec<Bin>,
    /// The bits of the widths between the bins, in their order, while values come and no bin is free; else nothing. Of
    /// widths, which are not below zero, the bits are in the same order, and the least of them is found many at a time.
    gaps: Vec<i32>,
    min: f32,
    max: f32,
}

impl PartialEq for Histogram {
    fn eq(&self, other: &Histogram) -> bool {
        self.size == other.size && self.bins == other.bins && self.min == other.min && self.max == other.max
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bin {
    at: f32,
    count: i64,
    /// It stands for more than one value.
    joined: bool,
}

impl Bin {
    fn with(self, right: Bin) -> Bin {
        let count = self.count + right.count;
        let middle = f64::from(self.at) * self.count as f64 + f64::from(right.at) * right.count as f64;
        Bin { at: (middle / count as f64) as f32, count, joined: true }
    }
}

/// Between two bins that are next to each other; of equal ones the leftmost is the least.
#[derive(Debug, Clone, Copy)]
struct Gap {
    width: f32,
    left: usize,
    right: usize,
}

impl Ord for Gap {
    fn cmp(&self, other: &Gap) -> Ordering {
        self.width.total_cmp(&other.width).then(self.left.cmp(&other.left))
    }
}

impl PartialOrd for Gap {
    fn partial_cmp(&self, other: &Gap) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Gap {
    fn eq(&self, other: &Gap) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Gap {}

pub const SIZE_DEFAULT: i64 = 50;
pub const SIZE_MAX: i64 = 1 << 14;

const JOINED: i64 = i64::MIN;

impl Histogram {
    pub fn new(size: usize) -> Histogram {
        Histogram { size: size.max(2), bins: Vec::new(), gaps: Vec::new(), min: f32::INFINITY, max: f32::NEG_INFINITY }
    }

    pub fn add(&mut self, value: f32) {
        if value.is_nan() {
            return;
        }
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        match self.bins.binary_search_by(|other| other.at.total_cmp(&value)) {
            Ok(found) => self.bins[found].count += 1,
            Err(place) => {
                let bin = Bin { at: value, count: 1, joined: false };
                match self.bins.len() < self.size {
                    true => self.bins.insert(place, bin),
                    false => self.squeeze(place, bin),
                }
            }
        }
    }

    /// Puts a bin where it belongs and joins the closest two: those are found as if it stood there, and the bins between
    /// the two places move by one.
    fn squeeze(&mut self, place: usize, new: Bin) {
        let bits = |left: Bin, right: Bin| (right.at - left.at).to_bits() as i32;
        let (bins, gaps) = (&mut self.bins, &mut self.gaps);
        if gaps.is_empty() {
            *gaps = bins.windows(2).map(|pair| bits(pair[0], pair[1])).collect();
        }
        if place > 0 && place < bins.len() {
            gaps[place - 1] = bits(bins[place - 1], new);
        } else if place > 0 {
            gaps.push(bits(bins[place - 1], new));
        }
        if place < bins.len() {
            gaps.insert(place, bits(new, bins[place]));
        }
        let Some(least) = gaps.iter().copied().min() else { return };
        let closest = gaps.iter().position(|gap| *gap == least).unwrap_or_default();
        let joined = if closest + 1 < place {
            bins[closest] = bins[closest].with(bins[closest + 1]);
            bins.copy_within(closest + 2..place, closest + 1);
            bins[place - 1] = new;
            closest
        } else if closest < place {
            bins[closest] = bins[closest].with(new);
            closest
        } else if closest == place {
            bins[place] = new.with(bins[place]);
            place
        } else {
            bins[closest] = bins[closest - 1].with(bins[closest]);
            bins.copy_within(place..closest - 1, place + 1);
            bins[place] = new;
            closest
        };
        gaps.remove(closest);
        if joined > 0 {
            gaps[joined - 1] = bits(bins[joined - 1], bins[joined]);
        }
        if joined + 1 < bins.len() {
            gaps[joined] = bits(bins[joined], bins[joined + 1]);
        }
    }

    fn put(&mut self, bin: Bin) {
        match self.bins.binary_search_by(|other| other.at.total_cmp(&bin.at)) {
            Ok(found) => {
                self.bins[found].count += bin.count;
                self.bins[found].joined |= bin.joined;
            }
            Err(place) => self.bins.insert(place, bin),
        }
    }

    /// Joins the closest two until there are no bins too many: the gaps wait in a heap, and each join makes at most two new
    /// ones.
    fn shrink(&mut self) {
        let len = self.bins.len();
        let mut next: Vec<usize> = (1..=len).collect();
        let mut before: Vec<Option<usize>> = (0..len).map(|i| i.checked_sub(1)).collect();
        let mut gone = vec![false; len];
        let gap = |bins: &[Bin], left: usize, right: usize| Gap { width: bins[right].at - bins[left].at, left, right };
        let mut gaps: BinaryHeap<Reverse<Gap>> = (1..len).map(|i| Reverse(gap(&self.bins, i - 1, i))).collect();
        let mut left_over = len;
        while left_over > self.size {
            let Some(Reverse(Gap { width, left, right })) = gaps.pop() else { break };
            // What a join has changed is in the heap again, as it is now.
            let stale = gone[left] || gone[right] || next[left] != right;
            if stale || width.total_cmp(&(self.bins[right].at - self.bins[left].at)).is_ne() {
                continue;
            }
            self.bins[left] = self.bins[left].with(self.bins[right]);
            gone[right] = true;
            left_over -= 1;
            next[left] = next[right];
            if next[left] < len {
                before[next[left]] = Some(left);
                gaps.push(Reverse(gap(&self.bins, left, next[left])));
            }
            if let Some(before) = before[left] {
                gaps.push(Reverse(gap(&self.bins, before, left)));
            }
        }
        let mut gone = gone.into_iter();
        self.bins.retain(|_| !gone.next().unwrap_or_default());
    }

    pub fn merge(&mut self, other: &Histogram) {
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        let mut all = Vec::with_capacity(self.bins.len() + other.bins.len());
        let (mut mine, mut theirs) = (self.bins.iter().peekable(), other.bins.iter().peekable());
        loop {
            let order = match (mine.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.at.total_cmp(&b.at),
            };
            let own = if order.is_le() { mine.next().copied() } else { None };
            let other = if order.is_ge() { theirs.next().copied() } else { None };
            all.extend(match (own, other) {
                (Some(a), Some(b)) => Some(Bin { at: a.at, count: a.count + b.count, joined: a.joined | b.joined }),
                (a, b) => a.or(b),
            });
        }
        self.bins = all;
        self.gaps.clear();
        self.shrink();
    }

    /// Values seen.
    pub fn count(&self) -> i64 {
        self.bins.iter().map(|bin| bin.count).sum()
    }

    pub fn min(&self) -> f64 {
        f64::from(self.min)
    }

    pub fn max(&self) -> f64 {
        f64::from(self.max)
    }

    /// The value that this part of all is not above; NaN if nothing was seen.
    pub fn quantile(&self, fraction: f64) -> f64 {
        let count = self.count();
        if count == 0 {
            return f64::NAN;
        }
        if fraction >= 1.0 {
            return self.max();
        }
        let wanted = fraction * count as f64;
        let mut sum = 0i64;
        let mut found = 0;
        for (i, bin) in self.bins.iter().enumerate() {
            if (sum + bin.count) as f64 > wanted {
                found = i;
                break;
            }
            sum += bin.count;
        }
        if found == 0 {
            return self.min();
        }
        // Between two bins the number of values is a trapezoid's area.
        let (left, right) = (self.bins[found - 1], self.bins[found]);
        let c = -2.0 * (wanted - sum as f64);
        let (a, b) = ((right.count - left.count) as f64, 2.0 * left.count as f64);
        let z = if a == 0.0 { -c / b } else { (-b + (b * b - 4.0 * a * c).sqrt()) / (2.0 * a) };
        let value = (f64::from(left.at) + f64::from(right.at - left.at) * z) as f32;
        f64::from(value.min(self.max))
    }

    /// About how many values are not above it.
    fn below(&self, value: f32) -> f64 {
        if value < self.min {
            return 0.0;
        }
        if value >= self.max {
            return self.count() as f64;
        }
        let right = self.bins.partition_point(|bin| bin.at <= value);
        let weight = |bin: Option<&Bin>| bin.filter(|bin| bin.joined).map_or(0.0, |bin| bin.count as f64);
        let (left, next) = (right.checked_sub(1).map(|i| &self.bins[i]), self.bins.get(right));
        let from = f64::from(left.map_or(self.min, |bin| bin.at));
        let to = f64::from(next.map_or(self.max, |bin| bin.at));
        let part = if to == from { 0.0 } else { (f64::from(value) - from) / (to - from) };
        let (a, b) = (weight(left), weight(next));
        let mut sum = 0.5 * (2.0 * a + (b - a) * part) * part;
        if let Some(left) = left {
            sum += self.bins[..right - 1].iter().map(|bin| bin.count as f64).sum::<f64>();
            sum += if left.joined { 0.5 * left.count as f64 } else { left.count as f64 };
        }
        sum
    }

    /// Druid's picture of it: counts between breaks.
    pub fn picture(&self, breaks: &[f32]) -> serde_json::Value {
        let sums: Vec<f64> = breaks.iter().map(|at| self.below(*at)).collect();
        let counts: Vec<f64> = sums.windows(2).map(|pair| f64::from((pair[1] - pair[0]) as f32)).collect();
        let numbers = |values: &[f64]| values.iter().map(|value| number(*value)).collect::<Vec<_>>();
        let breaks: Vec<f64> = breaks.iter().map(|at| f64::from(*at)).collect();
        serde_json::json!({"breaks": numbers(&breaks), "counts": numbers(&counts)})
    }

    /// Breaks of as many buckets of equal width.
    pub fn equal_breaks(&self, buckets: usize) -> Vec<f32> {
        if self.bins.is_empty() {
            return Vec::new();
        }
        let width = (self.max - self.min) / (buckets.max(2) - 1) as f32;
        let mut breaks = vec![self.min - width];
        for i in 1..buckets {
            breaks.push(breaks[i - 1] + width);
        }
        breaks.push(self.max);
        breaks
    }

    /// Breaks of buckets of a width, one of which starts at `offset`: around values only, so that all empty buckets between
    /// two values are one. What lies on the first break has a bucket before it.
    pub fn sized_breaks(&self, width: f32, offset: f32) -> Vec<f32> {
        let usable = width > 0.0 && !self.bins.is_empty();
        let first = ((self.min - offset) / width).floor() * width + offset;
        let count = ((self.max - first) / width).ceil();
        if !usable || !(0.0..=65_536.0).contains(&count) {
            return Vec::new();
        }
        // Squeezed values are spread over their surroundings.
        let holds = |from: f32, to: f32| self.below(to) - self.below(from) > 0.1;
        let mut breaks = Vec::new();
        if holds(first - width, first) {
            breaks.push(first - width);
        }
        let (mut left, mut follows) = (first, false);
        for i in 1..=count as usize {
            let right = first + i as f32 * width;
            let holds = holds(left, right);
            if holds {
                breaks.extend((!follows).then_some(left));
                breaks.push(right);
            }
            (left, follows) = (right, holds);
        }
        if breaks.last().is_some_and(|last| *last != left && holds(*last, left)) {
            breaks.push(left);
        }
        breaks
    }

    pub fn size_bytes(&self) -> usize {
        size_of::<Histogram>() + self.bins.capacity() * size_of::<Bin>() + self.gaps.capacity() * size_of::<i32>()
    }

    /// Sizes, positions, counts (the highest bit set for joined bins), smallest and largest.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = (self.size as i32).to_be_bytes().to_vec();
        bytes.extend((-(self.bins.len() as i32)).to_be_bytes());
        self.bins.iter().for_each(|bin| bytes.extend(bin.at.to_be_bytes()));
        for bin in &self.bins {
            bytes.extend((bin.count | if bin.joined { JOINED } else { 0 }).to_be_bytes());
        }
        bytes.extend(self.min.to_be_bytes());
        bytes.extend(self.max.to_be_bytes());
        bytes
    }

    pub fn read(bytes: &[u8]) -> Option<Histogram> {
        let mut reader = Reader::new(bytes);
        if bytes.first()? & 0x80 != 0 {
            return Histogram::read_values(reader);
        }
        let (size, bins) = (i64::from(reader.i32()?), i64::from(reader.i32()?));
        let count = bins.unsigned_abs() as usize;
        if !(0..=SIZE_MAX).contains(&size) || count as i64 > size {
            return None;
        }
        // With a positive number of bins, unused ones are written too.
        let unused = if bins > 0 { size as usize - count } else { 0 };
        let mut histogram = Histogram::new(size as usize);
        let positions = (0..count).map(|_| reader.f32()).collect::<Option<Vec<_>>>()?;
        (0..unused).try_for_each(|_| reader.f32().map(drop))?;
        for at in positions {
            let count = reader.i64()?;
            histogram.bins.push(Bin { at, count: count & !JOINED, joined: count & JOINED != 0 });
        }
        (0..unused).try_for_each(|_| reader.i64().map(drop))?;
        histogram.min = reader.f32()?;
        histogram.max = reader.f32()?;
        let counted = histogram.bins.iter().all(|bin| bin.count > 0 && !bin.at.is_nan());
        let sorted = histogram.bins.is_sorted_by(|a, b| a.at.total_cmp(&b.at).is_lt());
        (counted && sorted).then_some(histogram)
    }

    /// The form of few values: the size negated (two bytes), then the values themselves.
    fn read_values(mut reader: Reader<'_>) -> Option<Histogram> {
        let size = i16::from_be_bytes(reader.take()?).checked_neg()?;
        let mut histogram = Histogram::new(usize::try_from(size).ok()?);
        let mut count = reader.u8()? as i8;
        if count < 0 {
            for _ in 0..count.unsigned_abs() {
                let at = reader.f32().filter(|at| !at.is_nan())?;
                histogram.put(Bin { at, count: 1, joined: true });
            }
            histogram.min = reader.f32()?;
            histogram.max = reader.f32()?;
            count = reader.u8()? as i8;
            histogram.shrink();
        }
        for _ in 0..count {
            histogram.add(reader.f32()?);
        }
        Some(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_however_the_values_come() {
        let mut merged = Histogram::new(100);
        for part in 0..20 {
            let mut some = Histogram::new(100);
            (0..10_000).filter(|i| i % 20 == part).for_each(|i| some.add((i * 7919 % 10_000) as f32));
            merged.merge(&Histogram::read(&some.write()).unwrap());
        }
        assert_eq!(merged.count(), 10_000);
        for fraction in [0.1, 0.5, 0.9, 0.99] {
            let off = (merged.quantile(fraction) - fraction * 10_000.0).abs();
            assert!(off < 250.0, "{fraction}: {off}");
        }
        assert!(Histogram::new(50).quantile(0.5).is_nan());
    }

    #[test]
    fn buckets_without_values_are_left_out() {
        let of = |values: &[f32]| {
            let mut histogram = Histogram::new(50);
            values.iter().for_each(|value| histogram.add(*value));
            let breaks = histogram.sized_breaks(10.0, 0.0);
            let counts = histogram.picture(&breaks)["counts"].clone();
            (breaks, counts)
        };
        let empty = (Vec::new(), serde_json::json!([]));
        assert_eq!(of(&[]), empty);
        let (breaks, counts) = of(&[3.0, 4.0, 12.0, 61.0]);
        assert_eq!(breaks, [0.0, 10.0, 20.0, 60.0, 70.0]);
        assert_eq!(counts, serde_json::json!([2.0, 1.0, 0.0, 1.0]));
        // A value on the first break is in the bucket before.
        let (breaks, counts) = of(&[10.0, 15.0]);
        assert_eq!(breaks, [0.0, 10.0, 20.0]);
        assert_eq!(counts, serde_json::json!([1.0, 1.0]));
        assert_eq!(of(&[10.0, 10.0]), (vec![0.0, 10.0], serde_json::json!([2.0])));
    }

    /// Joins the closest two, looked for anew each time, until there are no bins too many.
    fn shrink(histogram: &mut Histogram) {
        let bins = &mut histogram.bins;
        while bins.len() > histogram.size {
            let gap = |i: &usize| bins[i + 1].at - bins[*i].at;
            let Some(closest) = (0..bins.len() - 1).min_by(|a, b| gap(a).total_cmp(&gap(b))) else { return };
            let right = bins.remove(closest + 1);
            bins[closest] = bins[closest].with(right);
        }
    }

    fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut random = seed;
        move |below| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        }
    }

    #[test]
    fn values_are_squeezed_in_as_if_bins_were_looked_for_each_time() {
        let mut next = numbers(11);
        for round in 0..300 {
            let (size, range) = (2 + next(40) as usize, 1 + next(if round % 2 == 0 { 60 } else { 100_000 }));
            let (mut fast, mut slow) = (Histogram::new(size), Histogram::new(size));
            for nth in 0..next(400) {
                let value = match next(50) {
                    0 => -0.0,
                    1 if round % 5 == 0 => f32::INFINITY,
                    2 if round % 5 == 1 => f32::NEG_INFINITY,
                    3 => f32::MAX,
                    _ => next(range) as f32 / 4.0 - 10.0,
                };
                // Widths that were kept before are not those after.
                if nth == 100 {
                    fast = Histogram::read(&fast.write()).unwrap();
                }
                if nth == 200 {
                    let mut few = Histogram::new(size);
                    (0..next(9)).for_each(|_| few.add(next(range) as f32 / 4.0));
                    fast.merge(&few);
                    slow.merge(&few);
                }
                fast.add(value);
                (slow.min, slow.max) = (slow.min.min(value), slow.max.max(value));
                slow.put(Bin { at: value, count: 1, joined: false });
                shrink(&mut slow);
                let same =
                    |a: &Bin, b: &Bin| a.at.total_cmp(&b.at).is_eq() && (a.count, a.joined) == (b.count, b.joined);
                let bins = fast.bins.iter().zip(&slow.bins).all(|(a, b)| same(a, b));
                assert!(bins && fast.bins.len() == slow.bins.len(), "after {value}: {fast:?}, not {slow:?}");
            }
        }
    }

    #[test]
    fn many_bins_are_joined_as_one_by_one() {
        let mut next = numbers(7);
        for round in 0..200 {
            // Of a narrow range gaps are often equal.
            let (size, range) = (2 + next(40) as usize, 1 + next(if round % 2 == 0 { 60 } else { 100_000 }));
            let mut make = |size: usize| {
                let mut histogram = Histogram::new(size);
                (0..next(300)).for_each(|_| histogram.add(next(range) as f32 / 4.0));
                histogram
            };
            let (one, other) = (make(size), make(3 * size));
            let mut slow = one.clone();
            slow.min = slow.min.min(other.min);
            slow.max = slow.max.max(other.max);
            other.bins.iter().for_each(|bin| slow.put(*bin));
            shrink(&mut slow);
            let mut fast = one;
            fast.merge(&other);
            assert_eq!(fast, slow);
        }
    }
}
