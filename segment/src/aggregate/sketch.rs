//! Aggregates that are sketches, and their JSON.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Input, json as read};
use crate::error::Result;
use crate::fields::Fields;
use crate::schema::ValueType;
use crate::sketch::fixed_histogram::{BUCKETS_MAX, Outliers, Settings};
use crate::sketch::{bloom, breaks, cpc, frequent, histogram, tdigest, theta, tuple};

#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    /// One column or expression; of tuple sketches the key, then its values.
    pub inputs: Vec<Input>,
    pub kind: SketchKind,
    /// Whether it leaves a query as what it says; else as its bytes.
    pub finalize: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SketchKind {
    /// Estimate of distinct values, with set operations.
    Theta {
        size: u32,
        of_sketches: bool,
        deviations: Option<u8>,
    },
    /// Estimate of distinct keys, each with sums of values.
    Tuple {
        size: u32,
        values: usize,
    },
    /// Of all there is, or of a sample.
    Variance {
        population: bool,
    },
    TDigest {
        compression: u16,
    },
    Histogram {
        size: usize,
        buckets: usize,
        fold: bool,
    },
    FixedHistogram {
        settings: Settings,
    },
    /// Counts between breaks, which ascend.
    Breaks {
        breaks: Arc<[f32]>,
    },
    Bloom {
        entries: i64,
    },
    /// Estimate of distinct values.
    Cpc {
        lg_k: u8,
        of_sketches: bool,
        round: bool,
    },
    /// The values that come most often.
    Frequent {
        map: u32,
        limit: usize,
    },
}

pub const TYPES: [&str; 17] = [
    "thetaSketch",
    "sketchBuild",
    "sketchMerge",
    "arrayOfDoublesSketch",
    "variance",
    "varianceFold",
    "tDigestSketch",
    "buildTDigestSketch",
    "mergeTDigestSketch",
    "approxHistogram",
    "approxHistogramFold",
    "fixedBucketsHistogram",
    "histogram",
    "bloom",
    "cpcSketchBuild",
    "cpcSketchMerge",
    "frequentItems",
];

impl Sketch {
    /// The complex type of its states.
    pub fn state_type(&self) -> ValueType {
        let name = match self.kind {
            SketchKind::Theta { .. } => "thetaSketch",
            SketchKind::Tuple { .. } => "arrayOfDoublesSketch",
            SketchKind::Variance { .. } => "variance",
            SketchKind::TDigest { .. } => "tDigestSketch",
            SketchKind::Histogram { .. } => "approximateHistogram",
            SketchKind::FixedHistogram { .. } => "fixedBucketsHistogram",
            SketchKind::Breaks { .. } => "histogram",
            SketchKind::Bloom { .. } => "bloom",
            SketchKind::Cpc { .. } => "cpcSketch",
            SketchKind::Frequent { .. } => "frequentItems",
        };
        ValueType::Complex(name.to_string())
    }

    /// Type of what it says.
    pub fn value_type(&self) -> ValueType {
        match self.kind {
            SketchKind::Theta { deviations: Some(_), .. }
            | SketchKind::Histogram { .. }
            | SketchKind::Breaks { .. }
            | SketchKind::Frequent { .. }
                if !self.as_bytes() =>
            {
                ValueType::json()
            }
            SketchKind::FixedHistogram { .. } if !self.as_bytes() => ValueType::String,
            SketchKind::Cpc { round: true, .. } => ValueType::Long,
            SketchKind::Theta { .. }
            | SketchKind::Tuple { .. }
            | SketchKind::Variance { .. }
            | SketchKind::Cpc { .. } => ValueType::Double,
            _ => self.state_type(),
        }
    }

    /// Whether histograms finish as their bytes.
    pub fn as_bytes(&self) -> bool {
        !self.finalize
    }

    /// The aggregate over the column of the states of this one.
    pub fn combining(&self, column: String) -> Sketch {
        let mut kind = self.kind.clone();
        if let SketchKind::Theta { of_sketches, .. } | SketchKind::Cpc { of_sketches, .. } = &mut kind {
            *of_sketches = true;
        }
        Sketch { inputs: vec![Input::Column(column)], kind, finalize: self.finalize }
    }

    pub fn to_json(&self, name: &str) -> Json {
        let mut json = json!({"name": name});
        let finalize = !self.finalize;
        match &self.kind {
            SketchKind::Theta { size, of_sketches, deviations } => {
                json["type"] = "thetaSketch".into();
                json["size"] = (*size).into();
                json["shouldFinalize"] = self.finalize.into();
                json["isInputThetaSketch"] = (*of_sketches).into();
                if let Some(deviations) = deviations {
                    json["errorBoundsStdDev"] = (*deviations).into();
                }
            }
            SketchKind::Tuple { size, values } => {
                json["type"] = "arrayOfDoublesSketch".into();
                json["nominalEntries"] = (*size).into();
                json["numberOfValues"] = (*values).into();
                if !self.finalize {
                    json["shouldFinalize"] = false.into();
                }
                if let Some((_, columns)) = self.inputs.split_first().filter(|(_, columns)| !columns.is_empty()) {
                    json["metricColumns"] = columns.iter().flat_map(Input::columns).collect::<Vec<_>>().into();
                }
            }
            SketchKind::Variance { population } => {
                json["type"] = "variance".into();
                if *population {
                    json["estimator"] = "population".into();
                }
            }
            SketchKind::TDigest { compression } => {
                json["type"] = "tDigestSketch".into();
                json["compression"] = (*compression).into();
            }
            SketchKind::Histogram { size, buckets, fold } => {
                json["type"] = if *fold { "approxHistogramFold" } else { "approxHistogram" }.into();
                json["resolution"] = (*size).into();
                json["numBuckets"] = (*buckets).into();
                json["finalizeAsBase64Binary"] = finalize.into();
            }
            SketchKind::FixedHistogram { settings } => {
                json["type"] = "fixedBucketsHistogram".into();
                json["numBuckets"] = settings.buckets.into();
                json["lowerLimit"] = settings.low.into();
                json["upperLimit"] = settings.high.into();
                json["outlierHandlingMode"] = settings.outliers.name().into();
                json["finalizeAsBase64Binary"] = finalize.into();
            }
            SketchKind::Breaks { breaks } => {
                json["type"] = "histogram".into();
                json["breaks"] = breaks.to_vec().into();
            }
            SketchKind::Bloom { entries } => {
                json["type"] = "bloom".into();
                json["maxNumEntries"] = (*entries).into();
            }
            SketchKind::Cpc { lg_k, of_sketches, round } => {
                json["type"] = if *of_sketches { "cpcSketchMerge" } else { "cpcSketchBuild" }.into();
                json["lgK"] = (*lg_k).into();
                json["round"] = (*round).into();
                json["shouldFinalize"] = self.finalize.into();
            }
            SketchKind::Frequent { map, limit } => {
                json["type"] = "frequentItems".into();
                json["maxMapSize"] = (*map).into();
                json["limit"] = (*limit).into();
                json["shouldFinalize"] = self.finalize.into();
            }
        }
        match (&self.kind, self.inputs.first()) {
            (SketchKind::Bloom { .. }, Some(Input::Column(column))) => json["field"] = column.as_str().into(),
            (_, Some(input)) => read::put_input(&mut json, input),
            (_, None) => {}
        }
        json
    }
}

/// Reads one of [`TYPES`].
pub(super) fn parse(fields: &Fields, kind: &str) -> Result<Sketch> {
    let one = || read::input(fields).map(|input| vec![input]);
    let power = |name: &str, default: u32| -> Result<u32> {
        let size = fields.integer(name, i64::from(default), 16, 1 << 26)? as u32;
        if size.is_power_of_two() { Ok(size) } else { Err(fields.wrong(name, "must be a power of two")) }
    };
    let unless = |name: &str| fields.flag(name).map(|bytes| !bytes);
    Ok(match kind {
        "thetaSketch" | "sketchBuild" | "sketchMerge" => {
            let deviations = match fields.get("errorBoundsStdDev") {
                None => None,
                Some(_) => Some(fields.integer("errorBoundsStdDev", 1, 1, 3)? as u8),
            };
            let of_sketches = kind == "sketchMerge" || fields.flag("isInputThetaSketch")?;
            let kind = SketchKind::Theta { size: power("size", theta::SIZE_DEFAULT)?, of_sketches, deviations };
            Sketch { inputs: one()?, kind, finalize: read::should_finalize(fields)? }
        }
        "arrayOfDoublesSketch" => {
            let mut inputs = one()?;
            if fields.get("metricColumns").is_some() {
                for (idx, column) in fields.list("metricColumns")?.iter().enumerate() {
                    let Some(column) = column.as_str() else {
                        return Err(fields.wrong("metricColumns", &format!("[{idx}] must be a column name")));
                    };
                    inputs.push(Input::Column(column.to_string()));
                }
            }
            let columns = inputs.len() as i64 - 1;
            let values = fields.integer("numberOfValues", columns.max(1), 1, tuple::VALUES_MAX)?;
            if columns > 0 && columns != values {
                return Err(fields.wrong("numberOfValues", "must be the number of metricColumns"));
            }
            let size = power("nominalEntries", tuple::SIZE_DEFAULT)?;
            let kind = SketchKind::Tuple { size, values: values as usize };
            // Druid's always finishes; ours may leave as it is, which SQL's functions ask for.
            Sketch { inputs, kind, finalize: read::should_finalize(fields)? }
        }
        "variance" | "varianceFold" => {
            let population = fields.text("estimator")?.is_some_and(|text| text.eq_ignore_ascii_case("population"));
            Sketch { inputs: one()?, kind: SketchKind::Variance { population }, finalize: true }
        }
        "tDigestSketch" | "buildTDigestSketch" | "mergeTDigestSketch" => {
            let compression = fields.integer("compression", i64::from(tdigest::COMPRESSION_DEFAULT), 10, 10_000)?;
            let kind = SketchKind::TDigest { compression: compression as u16 };
            Sketch { inputs: one()?, kind, finalize: true }
        }
        "approxHistogram" | "approxHistogramFold" => {
            let size = fields.integer("resolution", histogram::SIZE_DEFAULT, 2, histogram::SIZE_MAX)? as usize;
            let buckets = fields.integer("numBuckets", 7, 2, BUCKETS_MAX)? as usize;
            let kind = SketchKind::Histogram { size, buckets, fold: kind == "approxHistogramFold" };
            Sketch { inputs: one()?, kind, finalize: unless("finalizeAsBase64Binary")? }
        }
        "fixedBucketsHistogram" => {
            let limit = |name: &str| match fields.need(name)? {
                Json::Number(number) => Ok(number.as_f64().unwrap_or(f64::NAN)),
                _ => Err(fields.wrong(name, "must be a number")),
            };
            let (low, high) = (limit("lowerLimit")?, limit("upperLimit")?);
            if low >= high || low.is_nan() || high.is_nan() {
                return Err(fields.wrong("upperLimit", "must be above lowerLimit"));
            }
            let outliers = match fields.text("outlierHandlingMode")? {
                None => Outliers::Ignore,
                Some(name) => Outliers::parse(&name)
                    .ok_or_else(|| fields.wrong("outlierHandlingMode", "must be ignore, overflow or clip"))?,
            };
            let buckets = fields.integer("numBuckets", 10, 1, BUCKETS_MAX)? as u32;
            let kind = SketchKind::FixedHistogram { settings: Settings { low, high, buckets, outliers } };
            Sketch { inputs: one()?, kind, finalize: unless("finalizeAsBase64Binary")? }
        }
        "histogram" => {
            let breaks: Option<Vec<f32>> =
                fields.list("breaks")?.iter().map(|json| json.as_f64().map(|number| number as f32)).collect();
            let mut breaks = breaks.ok_or_else(|| fields.wrong("breaks", "must be an array of numbers"))?;
            if !(1..=breaks::BREAKS_MAX).contains(&breaks.len()) {
                return Err(fields
                    .wrong("breaks", &format!("must have 1 to {} numbers, not {}", breaks::BREAKS_MAX, breaks.len())));
            }
            breaks.sort_by(f32::total_cmp);
            let column = Input::Column(fields.need_text("fieldName")?);
            Sketch { inputs: vec![column], kind: SketchKind::Breaks { breaks: breaks.into() }, finalize: true }
        }
        "cpcSketchBuild" | "cpcSketchMerge" => {
            let lg_k = fields.integer("lgK", cpc::LG_K_DEFAULT, cpc::LG_K_MIN, cpc::LG_K_MAX)? as u8;
            let kind = SketchKind::Cpc { lg_k, of_sketches: kind == "cpcSketchMerge", round: fields.flag("round")? };
            Sketch { inputs: one()?, kind, finalize: read::should_finalize(fields)? }
        }
        "frequentItems" => {
            let map = fields.integer("maxMapSize", frequent::MAP_DEFAULT, frequent::MAP_MIN, frequent::MAP_MAX)? as u32;
            if !map.is_power_of_two() {
                return Err(fields.wrong("maxMapSize", "must be a power of two"));
            }
            let limit = fields.integer("limit", frequent::ITEMS_DEFAULT as i64, 1, frequent::MAP_MAX)? as usize;
            let kind = SketchKind::Frequent { map, limit };
            Sketch { inputs: one()?, kind, finalize: read::should_finalize(fields)? }
        }
        _ => {
            let entries = fields.integer("maxNumEntries", bloom::ENTRIES_DEFAULT, 1, bloom::ENTRIES_MAX)?;
            let name = if fields.get("field").is_some() { "field" } else { "fieldName" };
            let input = read::dimension(fields.need(name)?, &fields.at(name))?;
            Sketch { inputs: vec![input], kind: SketchKind::Bloom { entries }, finalize: true }
        }
    })
}
