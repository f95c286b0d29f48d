//! Sketches of quantiles, whichever they are: the classic one of doubles, KLL of doubles, KLL of floats. Questions are
//! answered inclusively, as DataSketches does since its version 4: the rank of a value counts the values equal to it.

use datasketches::common::SearchCriteria;
use datasketches::kll::{KllFloat, KllSketch, SortedView};

use super::doubles::Doubles;

pub type KllDoubles = KllSketch<KllFloat<f64>>;
pub type KllFloats = KllSketch<KllFloat<f32>>;

#[derive(Debug, Clone)]
pub enum Quantiles {
    Classic(Doubles),
    KllDoubles(Box<KllDoubles>),
    KllFloats(Box<KllFloats>),
}

/// Which sketch an aggregate keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Classic,
    KllDoubles,
    KllFloats,
}

impl Kind {
    /// Druid's name of the aggregator and of the type.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Classic => "quantilesDoublesSketch",
            Kind::KllDoubles => "KllDoublesSketch",
            Kind::KllFloats => "KllFloatsSketch",
        }
    }
}

/// A sketch made ready for questions.
pub struct View {
    n: u64,
    values: Values,
    min: f64,
    max: f64,
}

enum Values {
    /// With the weight of all up to and including each.
    Summed(Vec<(f64, u64)>),
    Doubles(SortedView<KllFloat<f64>>),
    Floats(SortedView<KllFloat<f32>>),
}

impl Quantiles {
    pub fn new(kind: Kind, k: u16) -> Quantiles {
        match kind {
            Kind::Classic => Quantiles::Classic(Doubles::new(k)),
            Kind::KllDoubles => Quantiles::KllDoubles(Box::new(KllSketch::new(k).expect("k is within limits"))),
            Kind::KllFloats => Quantiles::KllFloats(Box::new(KllSketch::new(k).expect("k is within limits"))),
        }
    }

    /// The sketch that the bytes are; of KLL's the wanted kind first, since their bytes do not tell.
    pub fn read(bytes: &[u8], wanted: Option<Kind>) -> Option<Quantiles> {
        match bytes.get(2)? {
            8 => Doubles::read(bytes).map(Quantiles::Classic),
            15 => {
                let doubles = || Some(Quantiles::KllDoubles(Box::new(KllSketch::deserialize(bytes).ok()?)));
                let floats = || Some(Quantiles::KllFloats(Box::new(KllSketch::deserialize(bytes).ok()?)));
                match wanted {
                    Some(Kind::KllFloats) => floats(),
                    Some(_) => doubles(),
                    None => doubles().or_else(floats),
                }
            }
            _ => None,
        }
    }

    pub fn write(&self) -> Vec<u8> {
        match self {
            Quantiles::Classic(sketch) => sketch.write(),
            Quantiles::KllDoubles(sketch) => sketch.serialize(),
            Quantiles::KllFloats(sketch) => sketch.serialize(),
        }
    }

    /// NaN is left out.
    #[inline]
    pub fn update(&mut self, value: f64) {
        match self {
            Quantiles::Classic(sketch) => sketch.update(value),
            Quantiles::KllDoubles(sketch) => {
                if let Ok(value) = KllFloat::<f64>::new(value) {
                    sketch.update(value);
                }
            }
            Quantiles::KllFloats(sketch) => {
                if let Ok(value) = KllFloat::<f32>::new(value as f32) {
                    sketch.update(value);
                }
            }
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Quantiles::Classic(_) => Kind::Classic,
            Quantiles::KllDoubles(_) => Kind::KllDoubles,
            Quantiles::KllFloats(_) => Kind::KllFloats,
        }
    }

    /// A sketch of another kind is left out: `false`. The accuracy is then the smaller of the two.
    #[must_use]
    pub fn merge(&mut self, other: &Quantiles) -> bool {
        match (self, other) {
            (Quantiles::Classic(a), Quantiles::Classic(b)) => {
                a.merge(b);
                true
            }
            (Quantiles::KllDoubles(a), Quantiles::KllDoubles(b)) => a.merge(b).is_ok(),
            (Quantiles::KllFloats(a), Quantiles::KllFloats(b)) => a.merge(b).is_ok(),
            _ => false,
        }
    }

    /// Values seen.
    pub fn n(&self) -> u64 {
        match self {
            Quantiles::Classic(sketch) => sketch.n(),
            Quantiles::KllDoubles(sketch) => sketch.n(),
            Quantiles::KllFloats(sketch) => sketch.n(),
        }
    }

    pub fn size_bytes(&self) -> usize {
        match self {
            Quantiles::Classic(sketch) => sketch.retained() * 8 + 200,
            Quantiles::KllDoubles(sketch) => sketch.num_retained() * 8 + 200,
            Quantiles::KllFloats(sketch) => sketch.num_retained() * 4 + 200,
        }
    }

    /// Made once for all questions.
    pub fn view(&self) -> View {
        let n = self.n();
        let summed = |weighted: Vec<(f64, u64)>| {
            let mut below = 0;
            let add = |(value, weight)| {
                below += weight;
                (value, below)
            };
            weighted.into_iter().map(add).collect()
        };
        match self {
            Quantiles::Classic(s) => {
                View { n, values: Values::Summed(summed(s.weighted())), min: s.min(), max: s.max() }
            }
            Quantiles::KllDoubles(s) => View {
                n,
                values: Values::Doubles(s.sorted_view()),
                min: s.min_item().map_or(f64::NAN, |v| **v),
                max: s.max_item().map_or(f64::NAN, |v| **v),
            },
            Quantiles::KllFloats(s) => View {
                n,
                values: Values::Floats(s.sorted_view()),
                min: s.min_item().map_or(f64::NAN, |v| f64::from(**v)),
                max: s.max_item().map_or(f64::NAN, |v| f64::from(**v)),
            },
        }
    }

    /// What people read.
    pub fn describe(&self) -> String {
        let (kind, k, error, retained) = match self {
            Quantiles::Classic(sketch) => return sketch.describe(),
            Quantiles::KllDoubles(s) => ("KllDoublesSketch", s.k(), s.normalized_rank_error(), s.num_retained()),
            Quantiles::KllFloats(s) => ("KllFloatsSketch", s.k(), s.normalized_rank_error(), s.num_retained()),
        };
        let view = self.view();
        format!(
            "\n### {kind} Summary:\n   K                      : {k}\n   N                      : {}\n   \
             Epsilon                : {:.3}%\n   Estimation Mode        : {}\n   Retained Items         : {retained}\n   \
             Min Item               : {}\n   Max Item               : {}\n### End sketch summary\n",
            self.n(),
            error * 100.0,
            retained as u64 != self.n(),
            view.min,
            view.max,
        )
    }
}

impl View {
    /// The smallest value whose rank is not below the fraction; NaN if nothing was seen.
    pub fn quantile(&self, fraction: f64) -> f64 {
        if fraction <= 0.0 || self.n == 0 {
            return self.min;
        }
        if fraction >= 1.0 {
            return self.max;
        }
        let inclusive = SearchCriteria::Inclusive;
        match &self.values {
            Values::Summed(values) => {
                let rank = (fraction * self.n as f64).ceil() as u64;
                let at = values.partition_point(|(_, below)| *below < rank);
                values.get(at).map_or(self.max, |(value, _)| *value)
            }
            Values::Doubles(view) => view.quantile(fraction, inclusive).ok().flatten().map_or(f64::NAN, |v| *v),
            Values::Floats(view) => {
                view.quantile(fraction, inclusive).ok().flatten().map_or(f64::NAN, |v| f64::from(*v))
            }
        }
    }

    /// The part of the values not above it.
    pub fn rank(&self, value: f64) -> f64 {
        let inclusive = SearchCriteria::Inclusive;
        let rank = match &self.values {
            _ if self.n == 0 || value.is_nan() => None,
            Values::Summed(values) => {
                let at = values.partition_point(|(other, _)| *other <= value);
                let below = if at == 0 { 0 } else { values[at - 1].1 };
                Some(below as f64 / self.n as f64)
            }
            Values::Doubles(view) => KllFloat::<f64>::new(value).ok().and_then(|v| view.rank(&v, inclusive)),
            Values::Floats(view) => KllFloat::<f32>::new(value as f32).ok().and_then(|v| view.rank(&v, inclusive)),
        };
        rank.unwrap_or(f64::NAN)
    }

    /// The ranks of ascending split points, and 1.
    pub fn cdf(&self, splits: &[f64]) -> Vec<f64> {
        if self.n == 0 {
            return vec![f64::NAN; splits.len() + 1];
        }
        splits.iter().map(|split| self.rank(*split)).chain([1.0]).collect()
    }

    /// How many values are up to each split point and above the one before.
    pub fn histogram(&self, splits: &[f64]) -> Vec<f64> {
        let mut counts = self.cdf(splits);
        for at in (1..counts.len()).rev() {
            counts[at] -= counts[at - 1];
        }
        counts.iter_mut().for_each(|part| *part *= self.n as f64);
        counts
    }

    /// As many bins of equal width between the smallest and the largest value.
    pub fn bins(&self, count: usize) -> Vec<f64> {
        if self.n == 0 {
            return vec![f64::NAN; count];
        }
        if self.min == self.max {
            let mut counts = vec![0.0; count];
            counts[0] = self.n as f64;
            return counts;
        }
        let width = (self.max - self.min) / count as f64;
        let mut splits: Vec<f64> = (1..count).map(|i| self.min + width * i as f64).collect();
        splits.dedup();
        let mut counts = self.histogram(&splits);
        counts.resize(count, 0.0);
        counts
    }
}
