//! Frequent items of Apache DataSketches: the values that come most often, how often about, and between which bounds for
//! certain. No count is off by more than a part of all that was seen, the smaller the larger the map.

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use serde_json::{Value as Json, json};

pub type Frequent = FrequentItemsSketch<String>;

pub const MAP_DEFAULT: i64 = 1024;
pub const MAP_MIN: i64 = 8;
pub const MAP_MAX: i64 = 1 << 22;
/// The byte that holds the logarithm of the map's slots.
const LG_SLOTS: usize = 4;
/// Items told unless asked for another number.
pub const ITEMS_DEFAULT: usize = 10;

/// `map` is a power of two within the limits.
pub fn new(map: u32) -> Frequent {
    FrequentItemsSketch::new(map as usize).expect("the size is within limits")
}

/// `None` for bytes that are no such sketch, or that would take far more memory than they are.
pub fn read(bytes: &[u8]) -> Option<Frequent> {
    // The library makes a map as large as the bytes say before it reads what is in it.
    let slots = 1usize.checked_shl(u32::from(*bytes.get(LG_SLOTS)?))?;
    if slots > (bytes.len() * 16).max(1 << 15) {
        return None;
    }
    // An error beyond all that was counted is no error of that sketch, and sums of such overflow.
    FrequentItemsSketch::deserialize(bytes)
        .ok()
        .filter(|sketch: &Frequent| sketch.maximum_error() <= sketch.total_weight())
}

/// What the texts of the items take.
pub fn text_bytes(sketch: &Frequent) -> usize {
    sketch.frequent_items(ErrorType::NoFalseNegatives).iter().map(|row| row.item().len()).sum()
}

/// Items that may be among the most frequent, most frequent first, of equal ones by their text.
pub fn items(sketch: &Frequent, limit: usize) -> Json {
    let mut rows = sketch.frequent_items(ErrorType::NoFalseNegatives);
    rows.sort_by(|a, b| b.estimate().cmp(&a.estimate()).then_with(|| a.item().cmp(b.item())));
    let object = |row: &datasketches::frequencies::Row<String>| {
        json!({"item": row.item(), "estimate": row.estimate(), "lowerBound": row.lower_bound(),
            "upperBound": row.upper_bound()})
    };
    rows.iter().take(limit).map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_within_their_bounds_and_bytes_come_back() {
        // Item `i` comes 2000 / (i + 1) times.
        let truth = |i: u64| 2000 / (i + 1);
        let mut merged = new(64);
        for part in 0..5 {
            let mut some = new(64);
            for i in 0..300 {
                let times = truth(i) / 5 + u64::from(part < truth(i) % 5);
                (0..times).for_each(|_| some.update(format!("item {i}")));
            }
            merged.merge(&read(&some.serialize()).unwrap());
        }
        let total: u64 = (0..300).map(truth).sum();
        assert_eq!(merged.total_weight(), total);
        assert!(merged.maximum_error() as f64 <= merged.epsilon() * total as f64);
        for i in 0..300 {
            let item = format!("item {i}");
            assert!(
                merged.lower_bound(&item) <= truth(i)
                    && truth(i) <= merged.upper_bound(&item).max(merged.maximum_error())
            );
        }
        let top = items(&merged, 3);
        let named: Vec<&str> = top.as_array().unwrap().iter().map(|row| row["item"].as_str().unwrap()).collect();
        assert_eq!(named, ["item 0", "item 1", "item 2"]);
        assert!(read(&[7; 40]).is_none() && items(&new(8), 5) == json!([]));
        // One item in a map of 2^30 slots; a sum of errors that cannot be.
        let mut one = new(8);
        one.update("a".to_string());
        let mut bytes = one.serialize();
        assert!(read(&bytes).is_some());
        (bytes[LG_SLOTS - 1], bytes[LG_SLOTS]) = (30, 30);
        assert!(read(&bytes).is_none());
        let mut bytes = one.serialize();
        bytes[24..32].fill(0xff);
        assert!(read(&bytes).is_none());
    }
}
