//! Druid's histogram of buckets of equal width within limits (`fixedBucketsHistogram`), in its bytes.

use super::Reader;

#[derive(Debug, Clone, PartialEq)]
pub struct FixedHistogram {
    pub settings: Settings,
    counts: Vec<i64>,
    count: i64,
    below: i64,
    above: i64,
    missing: i64,
    min: f64,
    max: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub low: f64,
    pub high: f64,
    pub buckets: u32,
    pub outliers: Outliers,
}

/// What becomes of values outside the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outliers {
    Ignore,
    /// They are counted apart.
    Overflow,
    /// They count to the first or last bucket.
    Clip,
}

pub const BUCKETS_MAX: i64 = 1 << 16;

impl Outliers {
    pub fn parse(name: &str) -> Option<Outliers> {
        match name.to_ascii_lowercase().as_str() {
            "ignore" => Some(Outliers::Ignore),
            "overflow" => Some(Outliers::Overflow),
            "clip" => Some(Outliers::Clip),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Outliers::Ignore => "ignore",
            Outliers::Overflow => "overflow",
            Outliers::Clip => "clip",
        }
    }
}

impl FixedHistogram {
    pub fn new(settings: Settings) -> FixedHistogram {
        FixedHistogram {
            settings,
            counts: vec![0; settings.buckets as usize],
            count: 0,
            below: 0,
            above: 0,
            missing: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }

    fn width(&self) -> f64 {
        (self.settings.high - self.settings.low) / f64::from(self.settings.buckets)
    }

    /// `None` is a row without a value.
    pub fn add(&mut self, value: Option<f64>) {
        match value {
            None => self.missing += 1,
            Some(value) => self.add_many(value, 1),
        }
    }

    fn add_many(&mut self, value: f64, times: i64) {
        // No value moves no bound.
        if times == 0 {
            return;
        }
        let Settings { low, high, outliers, .. } = self.settings;
        let last = self.counts.len() - 1;
        let (bucket, value) = if value < low {
            match outliers {
                Outliers::Ignore => return,
                Outliers::Overflow => {
                    self.below += times;
                    return;
                }
                Outliers::Clip => (0, low),
            }
        } else if value >= high {
            match outliers {
                Outliers::Ignore => return,
                Outliers::Overflow => {
                    self.above += times;
                    return;
                }
                Outliers::Clip => (last, high),
            }
        } else if value.is_nan() {
            return;
        } else {
            ((((value - low) / self.width()) as usize).min(last), value)
        };
        self.counts[bucket] += times;
        self.count += times;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// A histogram of other buckets is taken as if its values stood in the middle of them.
    pub fn merge(&mut self, other: &FixedHistogram) {
        self.missing += other.missing;
        let (a, b) = (self.settings, other.settings);
        if (a.low, a.high, a.buckets) != (b.low, b.high, b.buckets) {
            let width = other.width();
            for (bucket, times) in other.counts.iter().enumerate().filter(|(_, times)| **times > 0) {
                self.add_many(b.low + (bucket as f64 + 0.5) * width, *times);
            }
        } else {
            self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
            self.count += other.count;
            self.min = self.min.min(other.min);
            self.max = self.max.max(other.max);
        }
        if a.outliers == Outliers::Overflow {
            self.below += other.below;
            self.above += other.above;
        } else if a.outliers == Outliers::Clip {
            self.add_many(f64::NEG_INFINITY, other.below);
            self.add_many(f64::INFINITY, other.above);
        }
    }

    /// The value that this part of all is not above, spread evenly within its bucket; 0 if nothing was seen.
    pub fn quantile(&self, fraction: f64) -> f64 {
        let (width, total) = (self.width(), self.count as f64);
        let mut before = 0i64;
        for (bucket, times) in self.counts.iter().enumerate() {
            let through = before + times;
            if through as f64 / total >= fraction {
                let start = bucket as f64 * width + self.settings.low;
                let within = (fraction - before as f64 / total) / (*times as f64 / total);
                let within = if within.is_nan() { 0.0 } else { within };
                return f64::from((start + within * width) as f32);
            }
            before = through;
        }
        0.0
    }

    pub fn size_bytes(&self) -> usize {
        size_of::<FixedHistogram>() + self.counts.len() * 8
    }

    pub fn write(&self) -> Vec<u8> {
        let Settings { low, high, buckets, outliers } = self.settings;
        let filled = self.counts.iter().filter(|count| **count != 0).count();
        let sparse = filled < self.counts.len() / 2;
        let mut bytes = vec![1, if sparse { 2 } else { 1 }];
        bytes.extend(low.to_be_bytes());
        bytes.extend(high.to_be_bytes());
        bytes.extend(buckets.to_be_bytes());
        bytes.push(outliers as u8);
        for count in [self.count, self.below, self.above, self.missing] {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend(self.max.to_be_bytes());
        bytes.extend(self.min.to_be_bytes());
        if sparse {
            bytes.extend((filled as u32).to_be_bytes());
        }
        for (bucket, count) in self.counts.iter().enumerate().filter(|(_, count)| !sparse || **count != 0) {
            if sparse {
                bytes.extend((bucket as u32).to_be_bytes());
            }
            bytes.extend(count.to_be_bytes());
        }
        bytes
    }

    pub fn read(bytes: &[u8]) -> Option<FixedHistogram> {
        let mut reader = Reader::new(bytes);
        let (version, mode) = (reader.u8()?, reader.u8()?);
        let (low, high, buckets) = (reader.f64()?, reader.f64()?, reader.i32()?);
        let outliers = [Outliers::Ignore, Outliers::Overflow, Outliers::Clip].get(reader.u8()? as usize).copied()?;
        if version != 1 || !(1..=BUCKETS_MAX).contains(&i64::from(buckets)) || low >= high || high.is_nan() {
            return None;
        }
        let mut histogram = FixedHistogram::new(Settings { low, high, buckets: buckets as u32, outliers });
        histogram.count = reader.i64()?;
        histogram.below = reader.i64()?;
        histogram.above = reader.i64()?;
        histogram.missing = reader.i64()?;
        histogram.max = reader.f64()?;
        histogram.min = reader.f64()?;
        match mode {
            1 => {
                for count in &mut histogram.counts {
                    *count = reader.i64()?;
                }
            }
            2 => {
                for _ in 0..reader.i32()? {
                    let (bucket, count) = (reader.i32()?, reader.i64()?);
                    *histogram.counts.get_mut(usize::try_from(bucket).ok()?)? = count;
                }
            }
            _ => return None,
        }
        Some(histogram)
    }

    /// What people read, in Druid's words.
    pub fn describe(&self) -> String {
        let double = crate::expr::convert::text_of_double;
        let Settings { low, high, buckets, outliers } = self.settings;
        format!(
            "{{lowerLimit={}, upperLimit={}, numBuckets={buckets}, upperOutlierCount={}, lowerOutlierCount={}, \
             missingValueCount={}, histogram={:?}, outlierHandlingMode={}, count={}, max={}, min={}}}",
            double(low),
            double(high),
            self.above,
            self.below,
            self.missing,
            self.counts,
            outliers.name(),
            self.count,
            double(self.max),
            double(self.min),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_what_the_whole_gives_and_bytes_come_back() {
        for outliers in [Outliers::Ignore, Outliers::Overflow, Outliers::Clip] {
            let settings = Settings { low: -10.0, high: 90.0, buckets: 50, outliers };
            let of = |some: &mut dyn Iterator<Item = i32>| {
                let mut histogram = FixedHistogram::new(settings);
                some.for_each(|i| histogram.add((i % 13 != 0).then_some(f64::from(i * 31 % 120 - 20))));
                histogram
            };
            let whole = of(&mut (0..1000));
            let mut parts = FixedHistogram::new(settings);
            for part in 0..7 {
                parts.merge(&FixedHistogram::read(&of(&mut (0..1000).filter(|i| i % 7 == part)).write()).unwrap());
            }
            assert_eq!(parts, whole);
            assert_eq!(FixedHistogram::read(&whole.write()).unwrap(), whole);
        }
    }

    #[test]
    fn clipping_one_side_moves_no_bound_of_the_other() {
        let settings = |outliers| Settings { low: 0.0, high: 10.0, buckets: 10, outliers };
        let mut clipped = FixedHistogram::new(settings(Outliers::Clip));
        clipped.add(Some(5.0));
        let mut outside = FixedHistogram::new(settings(Outliers::Overflow));
        [4.0, 12.0, 13.0].into_iter().for_each(|value| outside.add(Some(value)));
        clipped.merge(&outside);
        assert_eq!((clipped.count, clipped.min, clipped.max), (4, 4.0, 10.0));
    }

    #[test]
    fn quantiles_are_spread_within_their_bucket() {
        let mut histogram =
            FixedHistogram::new(Settings { low: 0.0, high: 10.0, buckets: 20, outliers: Outliers::Overflow });
        assert_eq!(histogram.quantile(0.5), 0.0);
        histogram.add(Some(6.0));
        assert_eq!(histogram.quantile(0.999) as f32, 6.4995);
    }
}
