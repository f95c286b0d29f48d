//! CPC sketches of Apache DataSketches: estimates of distinct values that take fewer bytes than HyperLogLog's for the same
//! error.

use datasketches::cpc::{CpcSketch, CpcUnion};

use super::hash::Key;
use super::theta::deviations;

pub const LG_K_DEFAULT: i64 = 11;
pub const LG_K_MIN: i64 = 4;
pub const LG_K_MAX: i64 = 26;

/// A sketch that takes values and other sketches.
pub struct Cpc {
    lg_k: u8,
    values: Option<Box<CpcSketch>>,
    sketches: Option<Box<CpcUnion>>,
}

impl Cpc {
    /// `lg_k` is from [`LG_K_MIN`] to [`LG_K_MAX`].
    pub fn new(lg_k: u8) -> Cpc {
        Cpc { lg_k, values: None, sketches: None }
    }

    pub fn update(&mut self, key: Key<'_>) {
        let lg_k = self.lg_k;
        let build = || Box::new(CpcSketch::new(lg_k).expect("the size is within limits"));
        self.values.get_or_insert_with(build).update(key);
    }

    pub fn merge(&mut self, sketch: &CpcSketch) {
        let lg_k = self.lg_k;
        let union = self.sketches.get_or_insert_with(|| Box::new(union_of(lg_k)));
        // Fails only for another seed, and those bytes are not read.
        let _ = union.update(sketch);
    }

    pub fn absorb(&mut self, other: &Cpc) {
        if let Some(values) = &other.values {
            self.merge(values);
        }
        if let Some(sketches) = &other.sketches {
            self.merge(&sketches.to_sketch());
        }
    }

    /// What was seen: the same however it was split and merged.
    pub fn result(&self) -> CpcSketch {
        let mut union = union_of(self.lg_k);
        if let Some(values) = &self.values {
            let _ = union.update(values);
        }
        if let Some(sketches) = &self.sketches {
            let _ = union.update(&sketches.to_sketch());
        }
        union.to_sketch()
    }

    pub fn size_bytes(&self) -> usize {
        size_of::<Cpc>()
            + self.values.as_ref().map_or(0, |s| s.estimated_size())
            + self.sketches.as_ref().map_or(0, |s| s.estimated_size())
    }
}

fn union_of(lg_k: u8) -> CpcUnion {
    CpcUnion::new(lg_k).expect("the size is within limits")
}

pub fn read(bytes: &[u8]) -> Option<CpcSketch> {
    CpcSketch::deserialize(bytes).ok()
}

/// All of them together, at the size of the first.
pub fn union(sketches: &[CpcSketch]) -> Option<CpcSketch> {
    let mut union = union_of(sketches.first()?.lg_k());
    for sketch in sketches {
        union.update(sketch).ok()?;
    }
    Some(union.to_sketch())
}

/// The estimate, and its lower and upper bound; `None` unless 1, 2 or 3 deviations are asked for.
pub fn with_bounds(sketch: &CpcSketch, count: i64) -> Option<[f64; 3]> {
    let deviations = deviations(count)?;
    Some([sketch.estimate(), sketch.lower_bound(deviations), sketch.upper_bound(deviations)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_what_the_whole_gives_within_the_error() {
        for count in [0i64, 1, 100, 50_000] {
            let of = |keep: &dyn Fn(i64) -> bool| {
                let mut cpc = Cpc::new(11);
                (0..count).filter(|i| keep(*i)).for_each(|i| cpc.update(Key::Long(i)));
                cpc
            };
            let whole = of(&|_| true).result();
            let mut parts = Cpc::new(11);
            for part in 0..7 {
                // Values that repeat change nothing.
                parts.merge(&read(&of(&|i| i % 7 == part || i % 11 == 0).result().serialize()).unwrap());
            }
            let parts = parts.result();
            assert_eq!((parts.estimate(), parts.serialize()), (whole.estimate(), whole.serialize()));
            let [estimate, low, high] = with_bounds(&whole, 3).unwrap();
            assert!(
                (low..=high).contains(&(count as f64)) && low <= estimate && estimate <= high,
                "{count} {estimate}"
            );
        }
        assert!(read(&[1, 2, 3]).is_none() && with_bounds(&Cpc::new(11).result(), 4).is_none());
    }
}
