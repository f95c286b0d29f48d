//! HyperLogLog sketches of Apache DataSketches.

use datasketches::hll::{HllSketch, HllType, HllUnion};

use super::theta::deviations;
use crate::expr::convert::text_of_double;

pub const LG_K_DEFAULT: u8 = 12;

/// How registers are kept in the bytes.
pub fn kind_of(name: &str) -> Option<HllType> {
    match name.to_ascii_uppercase().as_str() {
        "HLL_4" => Some(HllType::Hll4),
        "HLL_6" => Some(HllType::Hll6),
        "HLL_8" => Some(HllType::Hll8),
        _ => None,
    }
}

pub fn name_of(kind: HllType) -> &'static str {
    match kind {
        HllType::Hll4 => "HLL_4",
        HllType::Hll6 => "HLL_6",
        HllType::Hll8 => "HLL_8",
    }
}

pub fn read(bytes: &[u8]) -> Option<HllSketch> {
    HllSketch::deserialize(bytes).ok()
}

/// The bytes with registers of the given kind.
pub fn write(sketch: &HllSketch, kind: HllType) -> Vec<u8> {
    let mut bytes = sketch.serialize();
    if sketch.target_type() == kind {
        return bytes;
    }
    // Few values are kept alike for all kinds but for the mark of the kind.
    if let Some(mode) = bytes.get_mut(7).filter(|mode| **mode & 3 < 2) {
        *mode = *mode & 3 | mark_of(kind) << 2;
        return bytes;
    }
    let mut union = union_of(sketch.lg_config_k());
    union.update(sketch);
    union.to_sketch(kind).serialize()
}

fn mark_of(kind: HllType) -> u8 {
    match kind {
        HllType::Hll4 => 0,
        HllType::Hll6 => 1,
        HllType::Hll8 => 2,
    }
}

pub fn empty(lg_k: u8, kind: HllType) -> HllSketch {
    HllSketch::new(lg_k.clamp(4, 21), kind).expect("lg_k is within limits")
}

fn union_of(lg_k: u8) -> HllUnion {
    HllUnion::new(lg_k.clamp(4, 21)).expect("lg_k is within limits")
}

/// All of them together.
pub fn union(sketches: &[HllSketch], lg_k: u8, kind: HllType) -> HllSketch {
    let mut union = union_of(lg_k);
    sketches.iter().for_each(|sketch| union.update(sketch));
    union.to_sketch(kind)
}

/// The estimate, and its lower and upper bound; `None` unless 1, 2 or 3 deviations are asked for.
pub fn with_bounds(sketch: &HllSketch, count: i64) -> Option<[f64; 3]> {
    let deviations = deviations(count)?;
    if sketch.is_empty() {
        return Some([0.0; 3]);
    }
    Some([sketch.composite_estimate(), sketch.lower_bound(deviations), sketch.upper_bound(deviations)])
}

/// What people read, as DataSketches prints it.
pub fn describe(bytes: &[u8]) -> Option<String> {
    let sketch = read(bytes)?;
    let bounds = with_bounds(&sketch, 1)?;
    let int = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let double = |at: usize| bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map(f64::from_le_bytes);
    let mode = bytes.get(7)? & 3;
    let mut out = String::from("### HLL SKETCH SUMMARY: \n");
    let mut line = |name: &str, value: String| out.push_str(&format!("  {name:<15}: {value}\n"));
    line("Log Config K", sketch.lg_config_k().to_string());
    line("Hll Target", name_of(sketch.target_type()).to_string());
    line("Current Mode", ["LIST", "SET", "HLL", "HLL"][mode as usize].to_string());
    line("Memory", "false".to_string());
    line("LB", text_of_double(bounds[1]));
    line("Estimate", text_of_double(bounds[0]));
    line("UB", text_of_double(bounds[2]));
    line("OutOfOrder Flag", (bytes.get(5)? & 16 != 0).to_string());
    match mode {
        0 => line("Coupon Count", bytes.get(6)?.to_string()),
        1 => line("Coupon Count", int(8)?.to_string()),
        _ => {
            line("CurMin", bytes.get(6)?.to_string());
            line("NumAtCurMin", int(32)?.to_string());
            line("HipAccum", text_of_double(double(8)?));
            line("KxQ0", text_of_double(double(16)?));
            line("KxQ1", text_of_double(double(24)?));
        }
    }
    Some(out)
}
