//! t-digests: quantiles whose error is smallest at both ends.

use datasketches::tdigest::TDigestMut;

pub const COMPRESSION_DEFAULT: u16 = 100;

pub fn new(compression: u16) -> TDigestMut {
    TDigestMut::new(compression.max(10)).expect("the compression is within limits")
}

/// Also reads the bytes of the reference implementation, which Druid keeps.
pub fn read(bytes: &[u8]) -> Option<TDigestMut> {
    TDigestMut::deserialize(bytes).ok()
}

/// NaN if nothing was seen.
pub fn quantile(digest: &mut TDigestMut, fraction: f64) -> f64 {
    digest.quantile(fraction.clamp(0.0, 1.0)).ok().flatten().unwrap_or(f64::NAN)
}
