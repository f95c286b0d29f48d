//! Quantiles of sketches and histograms, each within the error that it promises.

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use serde_json::{Value as Json, json};

use super::compare::{some_text, within};
use super::events::Event;

/// An aggregate of the fractions, and a question asked of it.
#[derive(Debug, Clone)]
pub(super) struct Quantile {
    of: Of,
    /// Whether of the column that ingestion made, or of the values of rows: those are there without rollup only.
    kept: bool,
    ask: Ask,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    Classic,
    Kll,
    KllFloats,
    Digest,
    Histogram,
    Fixed(Outliers),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Outliers {
    Ignore,
    Overflow,
    Clip,
}

#[derive(Debug, Clone, Copy)]
enum Ask {
    /// An exact binary fraction, so that no rank is rounded.
    Fraction(f64),
    Rank(f64),
}

/// Small, so that groups of some hundred values are joined.
pub(super) const KLL_K: usize = 64;
pub(super) const CLASSIC_K: usize = 16;
/// More than the events have different fractions, so that no two are joined.
pub(super) const RESOLUTION: usize = 500;
pub(super) const LOW: f64 = 0.0;
pub(super) const HIGH: f64 = 50.0;
pub(super) const BUCKETS: usize = 10;

/// What DataSketches gives as the error of a rank holds in 99 of 100 cases (`getNormalizedRankError`); it is near normally
/// distributed, so 3 times that is more than seven standard deviations.
const SURE: f64 = 3.0;

impl Quantile {
    pub(super) fn random(rng: &mut SmallRng, rollup: bool) -> Quantile {
        let outliers = *[Outliers::Ignore, Outliers::Overflow, Outliers::Clip].choose(rng).expect("there are ways");
        let all = [Of::Classic, Of::Kll, Of::Digest, Of::Histogram, Of::Fixed(outliers), Of::KllFloats];
        let kept = rollup || rng.random_bool(0.5);
        let of = match *all[..if kept { 5 } else { 6 }].choose(rng).expect("there are sketches") {
            Of::Fixed(_) if kept => Of::Fixed(Outliers::Overflow),
            of => of,
        };
        let ranks = matches!(of, Of::Classic | Of::Kll | Of::KllFloats) && rng.random_bool(0.3);
        let ask = match ranks {
            true => Ask::Rank(f64::from(rng.random_range(-50..420)) * 0.25),
            false => Ask::Fraction(*[0.125, 0.25, 0.5, 0.875].choose(rng).expect("there are fractions")),
        };
        Quantile { of, kept, ask }
    }

    /// The metrics that ingestion makes, under the names that [`Quantile::json`] reads.
    pub(super) fn metrics() -> Vec<Json> {
        let of = |of: Of| Quantile { of, kept: false, ask: Ask::Rank(0.0) }.json(of.column());
        vec![of(Of::Classic), of(Of::Kll), of(Of::Digest), of(Of::Histogram), of(Of::Fixed(Outliers::Overflow))]
    }

    pub(super) fn json(&self, name: &str) -> Json {
        let column = if self.kept { self.of.column() } else { "x" };
        let mut json = match self.of {
            Of::Classic => json!({"type": "quantilesDoublesSketch", "k": CLASSIC_K}),
            Of::Kll => json!({"type": "KllDoublesSketch", "k": KLL_K}),
            Of::KllFloats => json!({"type": "KllFloatsSketch", "k": KLL_K}),
            Of::Digest if self.kept => json!({"type": "mergeTDigestSketch"}),
            Of::Digest => json!({"type": "buildTDigestSketch"}),
            Of::Histogram if self.kept => json!({"type": "approxHistogramFold", "resolution": RESOLUTION}),
            Of::Histogram => json!({"type": "approxHistogram", "resolution": RESOLUTION}),
            Of::Fixed(outliers) => json!({"type": "fixedBucketsHistogram", "lowerLimit": LOW, "upperLimit": HIGH,
                "numBuckets": BUCKETS, "outlierHandlingMode": outliers.name()}),
        };
        json["name"] = name.into();
        json["fieldName"] = column.into();
        json
    }

    /// What the aggregate itself says.
    pub(super) fn of(&self, events: &[&Event]) -> Json {
        let sorted = sorted(events);
        match self.of {
            Of::Classic | Of::Kll | Of::KllFloats => json!(sorted.len()),
            Of::Digest => some_text(),
            Of::Histogram => picture(&sorted),
            Of::Fixed(outliers) => outliers.described(events),
        }
    }

    /// The question as a post-aggregate of the aggregate of a name.
    pub(super) fn post(&self, name: &str, aggregate: &str) -> Json {
        let mut json = match (self.of, self.ask) {
            (Of::Histogram | Of::Fixed(_), Ask::Fraction(part)) => {
                json!({"type": "quantile", "fieldName": aggregate, "probability": part})
            }
            (Of::Digest, Ask::Fraction(part)) => json!({"type": "quantileFromTDigestSketch", "fraction": part}),
            (of, Ask::Fraction(part)) => json!({"type": format!("{}ToQuantile", of.name()), "fraction": part}),
            (of, Ask::Rank(value)) => json!({"type": format!("{}ToRank", of.name()), "value": value}),
        };
        json["name"] = name.into();
        if !matches!(self.of, Of::Histogram | Of::Fixed(_)) {
            json["field"] = json!({"type": "fieldAccess", "name": aggregate, "fieldName": aggregate});
        }
        json
    }

    /// What answers the question.
    pub(super) fn answer(&self, events: &[&Event]) -> Json {
        let mut sorted = sorted(events);
        if let Of::Fixed(outliers) = self.of {
            sorted = outliers.counted(&sorted);
        }
        let count = sorted.len() as f64;
        if sorted.is_empty() {
            return match self.of {
                Of::Fixed(_) => json!(0.0),
                _ => json!("NaN"),
            };
        }
        let last = sorted.len() - 1;
        // The smallest value whose rank is not below a part.
        let at = |part: f64| sorted[((part * count).ceil().max(1.0) as usize - 1).min(last)];
        let error = self.of.error(sorted.len());
        match (self.of, self.ask) {
            (Of::Histogram, Ask::Fraction(part)) => {
                // Between the value that the part falls into and the one before it the number of values is taken for a
                // trapezoid's area (Ben-Haim and Tom-Tov 2010, algorithm 4), which Druid fills with all of the right
                // one's count, not half of it: that passes it by less than the square root of 2. Below the smallest
                // value is none, and above the largest.
                let value = sorted[((part * count) as usize).min(last)];
                match sorted.iter().rfind(|other| **other < value) {
                    Some(before) => {
                        let passed = before + std::f64::consts::SQRT_2 * (value - before);
                        within(*before, passed.min(sorted[last]))
                    }
                    None => within(value, value),
                }
            }
            (Of::Fixed(_), Ask::Fraction(part)) => {
                // Values are taken to be spread evenly over their bucket: no further from the truth than its width.
                let width = (HIGH - LOW) / BUCKETS as f64;
                let bucket = ((at(part) - LOW) / width).floor().min(BUCKETS as f64 - 1.0);
                within(LOW + bucket * width, LOW + (bucket + 1.0) * width)
            }
            (Of::Digest, Ask::Fraction(part)) => {
                // Quantiles stand between the middles of values, so the neighbours of the rank are right as well.
                let low = ((part - error) * count).floor() - 1.0;
                let high = ((part + error) * count).ceil();
                within(sorted[low.max(0.0) as usize], sorted[(high as usize).min(last)])
            }
            (_, Ask::Fraction(part)) => within(at(part - error), at(part + error)),
            (_, Ask::Rank(value)) => {
                let rank = sorted.iter().filter(|one| **one <= value).count() as f64 / count;
                within((rank - error).max(0.0), (rank + error).min(1.0))
            }
        }
    }
}

impl Of {
    fn column(self) -> &'static str {
        match self {
            Of::Classic => "quantiles_x",
            Of::Kll | Of::KllFloats => "kll_x",
            Of::Digest => "digest_x",
            Of::Histogram => "histogram_x",
            Of::Fixed(_) => "fixed_x",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Of::Classic => "quantilesDoublesSketch",
            Of::Kll => "KllDoublesSketch",
            Of::KllFloats => "KllFloatsSketch",
            Of::Digest | Of::Histogram | Of::Fixed(_) => "",
        }
    }

    /// How far the rank of an answer may be from the one asked for, as a part of the values.
    fn error(self, count: usize) -> f64 {
        match self {
            // Exact until the base buffer of 2 k values is full; then DataSketches' `ClassicUtil.getNormalizedRankError`.
            Of::Classic if count < 2 * CLASSIC_K => 0.0,
            Of::Classic => SURE * 1.576 / (CLASSIC_K as f64).powf(0.9726),
            // Exact while all values are in the first level; then DataSketches' `KllHelper.getNormalizedRankError`.
            Of::Kll | Of::KllFloats if count <= KLL_K => 0.0,
            Of::Kll | Of::KllFloats => SURE * 2.296 / (KLL_K as f64).powf(0.9723),
            // No centroid spans more than one step of the scale function (Dunning and Ertl 2019, section 2): of the scale
            // k1 a part of at most pi / compression, in the middle. An answer between two centroids is off by at most both;
            // of so few values each is a centroid of its own.
            Of::Digest if count <= 30 => 0.0,
            Of::Digest => 2.0 * std::f64::consts::PI / 100.0,
            Of::Histogram | Of::Fixed(_) => 0.0,
        }
    }
}

impl Outliers {
    fn name(self) -> &'static str {
        match self {
            Outliers::Ignore => "ignore",
            Outliers::Overflow => "overflow",
            Outliers::Clip => "clip",
        }
    }

    /// The values that are in buckets, where they are.
    fn counted(self, sorted: &[f64]) -> Vec<f64> {
        match self {
            Outliers::Clip => sorted.iter().map(|x| x.clamp(LOW, HIGH)).collect(),
            _ => sorted.iter().copied().filter(|x| (LOW..HIGH).contains(x)).collect(),
        }
    }

    /// As Druid's `FixedBucketsHistogram.toString`.
    fn described(self, events: &[&Event]) -> Json {
        let sorted = sorted(events);
        let counted = self.counted(&sorted);
        let outside = |test: fn(f64) -> bool| match self {
            Outliers::Overflow => sorted.iter().filter(|x| test(**x)).count(),
            _ => 0,
        };
        let width = (HIGH - LOW) / BUCKETS as f64;
        let mut buckets = [0u64; BUCKETS];
        counted.iter().for_each(|x| buckets[(((x - LOW) / width) as usize).min(BUCKETS - 1)] += 1);
        let edge = |x: Option<&f64>, none: &str| x.map_or(none.to_string(), |x| format!("{x:?}"));
        json!(format!(
            "{{lowerLimit={LOW:?}, upperLimit={HIGH:?}, numBuckets={BUCKETS}, upperOutlierCount={}, \
             lowerOutlierCount={}, missingValueCount={}, histogram={buckets:?}, outlierHandlingMode={}, count={}, \
             max={}, min={}}}",
            outside(|x| x >= HIGH),
            outside(|x| x < LOW),
            events.len() - sorted.len(),
            self.name(),
            counted.len(),
            edge(counted.last(), "-Infinity"),
            edge(counted.first(), "Infinity"),
        ))
    }
}

fn sorted(events: &[&Event]) -> Vec<f64> {
    let mut sorted: Vec<f64> = events.iter().filter_map(|event| event.x).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Druid's picture of a histogram: seven buckets of equal width from one width below the smallest value, each without its
/// lower end.
fn picture(sorted: &[f64]) -> Json {
    let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else {
        return json!({"breaks": [], "counts": []});
    };
    let (min, max) = (*min as f32, *max as f32);
    let width = (max - min) / 6.0;
    let mut breaks = vec![min - width];
    for _ in 1..7 {
        breaks.push(breaks[breaks.len() - 1] + width);
    }
    breaks.push(max);
    let below = |at: f32| sorted.iter().filter(|x| at >= max || **x <= f64::from(at)).count() as f64;
    let counts: Vec<f64> = breaks.windows(2).map(|pair| below(pair[1]) - below(pair[0])).collect();
    let breaks: Vec<Json> = breaks.iter().map(|at| within(f64::from(*at), f64::from(*at))).collect();
    json!({"breaks": breaks, "counts": counts})
}
