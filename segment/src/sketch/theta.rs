//! Theta sketches: estimates of distinct values that know union, intersection and difference.

use datasketches::common::NumStdDev;
use datasketches::theta::{
    CompactThetaSketch, ThetaANotB, ThetaIntersection, ThetaSketch, ThetaSketchBuilder, ThetaUnion, ThetaUnionBuilder,
};

use super::hash::Key;

/// Values kept if nobody says how many.
pub const SIZE_DEFAULT: u32 = 16_384;

/// A sketch that takes values and other sketches.
pub struct Theta {
    lg_k: u8,
    values: Option<Box<ThetaSketch>>,
    sketches: Option<Box<ThetaUnion>>,
}

/// The base-2 logarithm of a sketch's size, which is a power of two.
pub fn lg_of(size: u32) -> u8 {
    (size.max(32).trailing_zeros() as u8).clamp(5, 26)
}

impl Theta {
    pub fn new(lg_k: u8) -> Theta {
        Theta { lg_k, values: None, sketches: None }
    }

    pub fn update(&mut self, key: Key<'_>) {
        let lg_k = self.lg_k;
        let build = || {
            let sketch = ThetaSketchBuilder::default().lg_k(lg_k).build();
            Box::new(sketch.expect("the size is within limits"))
        };
        self.values.get_or_insert_with(build).update(key);
    }

    /// Sketches of another seed are left out.
    pub fn merge(&mut self, sketch: &CompactThetaSketch) {
        let _ = self.union_mut().update(sketch);
    }

    pub fn absorb(&mut self, other: &Theta) {
        if let Some(values) = &other.values {
            let _ = self.union_mut().update(values.as_ref());
        }
        if let Some(sketches) = &other.sketches {
            let _ = self.union_mut().update(&sketches.to_sketch(false));
        }
    }

    fn union_mut(&mut self) -> &mut ThetaUnion {
        let lg_k = self.lg_k;
        self.sketches.get_or_insert_with(|| Box::new(union_of(lg_k)))
    }

    /// What was seen: the same however it was split and merged.
    pub fn result(&self) -> CompactThetaSketch {
        let mut union = union_of(self.lg_k);
        if let Some(values) = &self.values {
            let _ = union.update(values.as_ref());
        }
        if let Some(sketches) = &self.sketches {
            let _ = union.update(&sketches.to_sketch(false));
        }
        union.to_sketch(true)
    }

    pub fn size_bytes(&self) -> usize {
        size_of::<Theta>()
            + self.values.as_ref().map_or(0, |s| s.estimated_size())
            + self.sketches.as_ref().map_or(0, |s| s.estimated_size())
    }
}

fn union_of(lg_k: u8) -> ThetaUnion {
    ThetaUnionBuilder::default().lg_k(lg_k).build().expect("the size is within limits")
}

pub fn read(bytes: &[u8]) -> Option<CompactThetaSketch> {
    CompactThetaSketch::deserialize(bytes).ok()
}

pub fn write(sketch: &CompactThetaSketch) -> Vec<u8> {
    sketch.serialize()
}

/// A sketch that saw nothing.
pub fn empty() -> CompactThetaSketch {
    union_of(lg_of(SIZE_DEFAULT)).to_sketch(true)
}

/// Operations on sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetOp {
    Union,
    Intersect,
    /// The first without all others.
    Not,
}

impl SetOp {
    pub fn parse(text: &str) -> Option<SetOp> {
        match text.to_ascii_uppercase().as_str() {
            "UNION" => Some(SetOp::Union),
            "INTERSECT" => Some(SetOp::Intersect),
            "NOT" => Some(SetOp::Not),
            _ => None,
        }
    }
}

/// The operation over sketches; `None` for sketches of different seeds.
pub fn combine(op: SetOp, size: u32, sketches: &[CompactThetaSketch]) -> Option<CompactThetaSketch> {
    match op {
        SetOp::Union => {
            let mut union = union_of(lg_of(size));
            for sketch in sketches {
                union.update(sketch).ok()?;
            }
            Some(union.to_sketch(true))
        }
        SetOp::Intersect => {
            let mut both = ThetaIntersection::default();
            for sketch in sketches {
                both.update(sketch).ok()?;
            }
            both.to_sketch(true)
        }
        SetOp::Not => {
            let (first, others) = sketches.split_first()?;
            let mut rest = combine(SetOp::Union, size, std::slice::from_ref(first))?;
            for other in others {
                rest = ThetaANotB::default().compute(&rest, other, true).ok()?;
            }
            Some(rest)
        }
    }
}

/// `None` unless 1, 2 or 3.
pub fn deviations(count: i64) -> Option<NumStdDev> {
    match count {
        1 => Some(NumStdDev::One),
        2 => Some(NumStdDev::Two),
        3 => Some(NumStdDev::Three),
        _ => None,
    }
}

/// The estimate and its bounds as Druid's JSON object.
pub fn with_bounds(sketch: &CompactThetaSketch, count: i64) -> Option<String> {
    let deviations = deviations(count)?;
    let object = serde_json::json!({
        "estimate": sketch.estimate(),
        "highBound": sketch.upper_bound(deviations),
        "lowBound": sketch.lower_bound(deviations),
        "numStdDev": count,
    });
    Some(object.to_string())
}

/// What people read.
pub fn describe(sketch: &CompactThetaSketch) -> String {
    let theta = sketch.theta();
    format!(
        "\n### HeapCompactSketch SUMMARY: \n   Estimate                : {}\n   Upper Bound, 95% conf   : {}\n   \
         Lower Bound, 95% conf   : {}\n   Theta (double)          : {theta}\n   Theta (long)            : {}\n   \
         EstMode?                : {}\n   Empty?                  : {}\n   Retained Entries        : {}\n   \
         Seed Hash               : {:x} | {}\n### END SKETCH SUMMARY\n",
        crate::expr::convert::text_of_double(sketch.estimate()),
        crate::expr::convert::text_of_double(sketch.upper_bound(NumStdDev::Two)),
        crate::expr::convert::text_of_double(sketch.lower_bound(NumStdDev::Two)),
        sketch.theta64(),
        sketch.is_estimation_mode(),
        sketch.is_empty(),
        sketch.num_retained(),
        sketch.seed_hash(),
        sketch.seed_hash(),
    )
}
