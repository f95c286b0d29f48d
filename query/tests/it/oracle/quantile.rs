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
    /// By the name that the form over sketches has.
    merge: bool,
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

#[derive(Debug, Clone)]
enum Ask {
    /// An exact binary fraction, so that no rank is rounded.
    Fraction(f64),
    Fractions(Vec<f64>),
    Rank(f64),
    /// Parts of the values, or their numbers, up to each of these.
    Parts(Vec<f64>),
    Counts(Vec<f64>),
    /// Numbers of values in as many bins of one width.
    Bins(usize),
    /// Of a histogram: its picture with as many buckets, or with these breaks.
    Equal(usize),
    Custom(Vec<f64>),
    /// With buckets of a width, one of which starts there.
    Sized(f32, f32),
    Least,
    Greatest,
    Text,
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
        let number = |rng: &mut SmallRng| f64::from(rng.random_range(-50..420)) * 0.25;
        let fractions = [0.125, 0.25, 0.5, 0.875];
        let some = |rng: &mut SmallRng, all: &[f64]| -> Vec<f64> {
            all.iter().copied().filter(|_| rng.random_bool(0.6)).collect()
        };
        let splits = [-5.0, 0.0, 12.5, 30.25, 80.0];
        let one = Ask::Fraction(*fractions.choose(rng).expect("there are fractions"));
        let ask = match (of, rng.random_range(0..10)) {
            (Of::Histogram, 8) => Ask::Fractions(some(rng, &fractions)),
            (Of::Histogram, 9) => {
                let width = *[0.5, 4.0, 12.5].choose(rng).expect("there are widths");
                Ask::Sized(width, *[0.0, 1.25, -3.0].choose(rng).expect("there are numbers"))
            }
            (_, 0 | 1) | (Of::Fixed(_), _) | (Of::Histogram, 2) => one,
            (Of::Digest, _) | (_, 2) => Ask::Fractions(some(rng, &fractions)),
            (Of::Histogram, 3 | 4) => Ask::Equal(rng.random_range(2..9)),
            (Of::Histogram, 5) => Ask::Custom(splits.to_vec()),
            (Of::Histogram, 6) => Ask::Least,
            (Of::Histogram, _) => Ask::Greatest,
            (_, 3) => Ask::Rank(number(rng)),
            (_, 4) => Ask::Parts(some(rng, &splits)),
            (_, 5) => Ask::Counts(some(rng, &splits)),
            (_, 6) => Ask::Bins(*[1, 2, 4, 8].choose(rng).expect("there are numbers")),
            _ => Ask::Text,
        };
        let merge = of == Of::Classic && kept && rng.random_bool(0.5);
        Quantile { of, kept, merge, ask }
    }

    /// The metrics that ingestion makes, under the names that [`Quantile::json`] reads.
    pub(super) fn metrics() -> Vec<Json> {
        let of = |of: Of| Quantile { of, kept: false, merge: false, ask: Ask::Rank(0.0) }.json(of.column());
        vec![of(Of::Classic), of(Of::Kll), of(Of::Digest), of(Of::Histogram), of(Of::Fixed(Outliers::Overflow))]
    }

    pub(super) fn json(&self, name: &str) -> Json {
        let column = if self.kept { self.of.column() } else { "x" };
        let mut json = match self.of {
            Of::Classic if self.merge => json!({"type": "quantilesDoublesSketchMerge", "k": CLASSIC_K}),
            Of::Classic => json!({"type": "quantilesDoublesSketch", "k": CLASSIC_K}),
            Of::Kll => json!({"type": "KllDoublesSketch", "k": KLL_K}),
            Of::KllFloats => json!({"type": "KllFloatsSketch", "k": KLL_K}),
            Of::Digest if self.kept && !matches!(self.ask, Ask::Fraction(part) if part < 0.5) => {
                json!({"type": "mergeTDigestSketch"})
            }
            Of::Digest if self.kept => json!({"type": "tDigestSketch"}),
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
            Of::Histogram => picture(&sorted, &equal(&sorted, 7)),
            Of::Fixed(outliers) => outliers.described(events),
        }
    }

    /// The question as a post-aggregate of the aggregate of a name.
    pub(super) fn post(&self, name: &str, aggregate: &str) -> Json {
        let of = |verb: &str| format!("{}To{verb}", self.of.name());
        let mut json = match (self.of, &self.ask) {
            (Of::Histogram | Of::Fixed(_), Ask::Fraction(part)) => json!({"type": "quantile", "probability": part}),
            (Of::Histogram, Ask::Fractions(parts)) => json!({"type": "quantiles", "probabilities": parts}),
            (_, Ask::Sized(width, offset)) => json!({"type": "buckets", "bucketSize": width, "offset": offset}),
            (Of::Digest, Ask::Fraction(part)) => json!({"type": "quantileFromTDigestSketch", "fraction": part}),
            (Of::Digest, Ask::Fractions(parts)) => json!({"type": "quantilesFromTDigestSketch", "fractions": parts}),
            (_, Ask::Fraction(part)) => json!({"type": of("Quantile"), "fraction": part}),
            (_, Ask::Fractions(parts)) => json!({"type": of("Quantiles"), "fractions": parts}),
            (_, Ask::Rank(value)) => json!({"type": of("Rank"), "value": value}),
            (_, Ask::Parts(splits)) => json!({"type": of("CDF"), "splitPoints": splits}),
            (_, Ask::Counts(splits)) => json!({"type": of("Histogram"), "splitPoints": splits}),
            (_, Ask::Bins(count)) => json!({"type": of("Histogram"), "numBins": count}),
            (_, Ask::Equal(count)) => json!({"type": "equalBuckets", "numBuckets": count}),
            (_, Ask::Custom(breaks)) => json!({"type": "customBuckets", "breaks": breaks}),
            (_, Ask::Least) => json!({"type": "min"}),
            (_, Ask::Greatest) => json!({"type": "max"}),
            (_, Ask::Text) => json!({"type": of("String")}),
        };
        json["name"] = name.into();
        if matches!(self.of, Of::Histogram | Of::Fixed(_)) {
            json["fieldName"] = aggregate.into();
        } else {
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
        let each = |parts: &[f64]| -> Json { parts.iter().map(|part| self.quantile(&sorted, *part)).collect() };
        match &self.ask {
            Ask::Fraction(part) => self.quantile(&sorted, *part),
            Ask::Fractions(parts) if self.of == Of::Histogram => {
                json!({"probabilities": parts, "quantiles": each(parts),
                "min": edge(sorted.first(), "Infinity"), "max": edge(sorted.last(), "-Infinity")})
            }
            Ask::Fractions(parts) => each(parts),
            Ask::Sized(width, offset) => picture(&sorted, &around(&sorted, *width, *offset)),
            Ask::Rank(value) => self.rank(&sorted, *value),
            Ask::Parts(splits) => {
                let whole = if sorted.is_empty() { json!("NaN") } else { json!(1.0) };
                splits.iter().map(|split| self.rank(&sorted, *split)).chain([whole]).collect()
            }
            Ask::Counts(splits) => self.counts(&sorted, splits),
            Ask::Bins(count) => match (sorted.first(), sorted.last()) {
                (Some(min), Some(max)) if min < max => {
                    let width = (max - min) / *count as f64;
                    self.counts(&sorted, &(1..*count).map(|at| min + width * at as f64).collect::<Vec<_>>())
                }
                (Some(_), _) => (0..*count).map(|at| json!(if at == 0 { sorted.len() as f64 } else { 0.0 })).collect(),
                (None, _) => vec![json!("NaN"); *count].into(),
            },
            Ask::Equal(count) => picture(&sorted, &equal(&sorted, *count)),
            Ask::Custom(breaks) => picture(&sorted, &breaks.iter().map(|at| *at as f32).collect::<Vec<_>>()),
            Ask::Least => edge(sorted.first(), "Infinity"),
            Ask::Greatest => edge(sorted.last(), "-Infinity"),
            Ask::Text => some_text(),
        }
    }

    /// The part of the values that are not above one.
    fn rank(&self, sorted: &[f64], value: f64) -> Json {
        if sorted.is_empty() {
            return json!("NaN");
        }
        let rank = sorted.iter().filter(|one| **one <= value).count() as f64 / sorted.len() as f64;
        let error = self.of.error(sorted.len());
        within((rank - error).max(0.0), (rank + error).min(1.0))
    }

    /// How many values are up to each split and above the one before: what two ranks are apart.
    fn counts(&self, sorted: &[f64], splits: &[f64]) -> Json {
        let ends = [&[f64::NEG_INFINITY], splits, &[f64::INFINITY]].concat();
        let count = |pair: &[f64]| {
            let inside: Vec<f64> = sorted.iter().copied().filter(|one| pair[0] < *one && *one <= pair[1]).collect();
            let error = 2.0 * self.of.error(sorted.len()) * sorted.len() as f64;
            match sorted.is_empty() {
                true => json!("NaN"),
                // What ranks are multiplied to is not exact to the last digit.
                false => within((inside.len() as f64 - error).max(0.0) - 1e-9, inside.len() as f64 + error + 1e-9),
            }
        };
        ends.windows(2).map(count).collect()
    }

    fn quantile(&self, sorted: &[f64], part: f64) -> Json {
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
        match self.of {
            Of::Histogram => {
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
            Of::Fixed(_) => {
                // Values are taken to be spread evenly over their bucket: no further from the truth than its width.
                let width = (HIGH - LOW) / BUCKETS as f64;
                let bucket = ((at(part) - LOW) / width).floor().min(BUCKETS as f64 - 1.0);
                within(LOW + bucket * width, LOW + (bucket + 1.0) * width)
            }
            Of::Digest => {
                // Quantiles stand between the middles of values, so the neighbours of the rank are right as well.
                let low = ((part - error) * count).floor() - 1.0;
                let high = ((part + error) * count).ceil();
                within(sorted[low.max(0.0) as usize], sorted[(high as usize).min(last)])
            }
            _ => within(at(part - error), at(part + error)),
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

fn edge(value: Option<&f64>, none: &str) -> Json {
    value.map_or(json!(none), |value| within(*value, *value))
}

/// The breaks of as many buckets of equal width, from one width below the smallest value on.
fn equal(sorted: &[f64], count: usize) -> Vec<f32> {
    let (Some(min), Some(max)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    let (min, max) = (*min as f32, *max as f32);
    let width = (max - min) / (count - 1) as f32;
    let mut breaks = vec![min - width];
    for _ in 1..count {
        breaks.push(breaks[breaks.len() - 1] + width);
    }
    breaks.push(max);
    breaks
}

/// The breaks of buckets of a width that have values, without their lower ends: buckets without any that lie between are
/// told as one. A bucket that ends where the first value is has its end told only where the next one begins there.
fn around(sorted: &[f64], width: f32, offset: f32) -> Vec<f32> {
    let ends = |value: f64| {
        let upper = ((value as f32 - offset) / width).ceil() * width + offset;
        [upper - width, upper]
    };
    let all: Vec<[f32; 2]> = sorted.iter().map(|value| ends(*value)).collect();
    let (Some(first), Some(last)) = (all.first(), all.last()) else { return Vec::new() };
    let is_edge = sorted[0] as f32 == first[1];
    let is_told = |[from, to]: [f32; 2]| {
        let is_first = is_edge && [from, to] == *first;
        if is_first && first != last { vec![from] } else { vec![from, to] }
    };
    let mut breaks: Vec<f32> = all.iter().flat_map(|ends| is_told(*ends)).collect();
    breaks.sort_by(f32::total_cmp);
    breaks.dedup();
    breaks
}

/// Druid's picture of a histogram: the numbers of values between breaks, each without the lower one.
fn picture(sorted: &[f64], breaks: &[f32]) -> Json {
    let max = sorted.last().map_or(f32::NEG_INFINITY, |max| *max as f32);
    let below = |at: f32| sorted.iter().filter(|x| at >= max || **x <= f64::from(at)).count() as f64;
    let counts: Vec<f64> = breaks.windows(2).map(|pair| below(pair[1]) - below(pair[0])).collect();
    let breaks: Vec<Json> = breaks.iter().map(|at| within(f64::from(*at), f64::from(*at))).collect();
    json!({"breaks": breaks, "counts": counts})
}
