//! How much the results of asynchronous statements take that each owner keeps, and how much they may take. It is known of what
//! this process writes as it is written; of what others run, and of what is from before its start, from the next look at
//! all that is kept.

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;

/// What a statement counts beside its pages: its status, with some rows.
const STATUS_BYTES: u64 = 4 << 10;

pub struct Kept {
    /// By place, which begins with its owner's.
    statements: Mutex<BTreeMap<String, u64>>,
    owner_bytes_max: u64,
}

impl Kept {
    pub fn new(owner_bytes_max: u64) -> Kept {
        Kept { statements: Mutex::default(), owner_bytes_max }
    }

    /// Counts a statement, and so many bytes more of its pages, before they are kept. Why not, if its owner would have too
    /// many then.
    pub fn add(&self, place: &str, bytes: u64) -> Result<(), String> {
        let mut statements = self.statements.lock();
        let owner = place.split_inclusive('/').next().unwrap_or_default();
        let own = statements.range(owner.to_string()..).take_while(|(place, _)| place.starts_with(owner));
        let others: u64 = own.filter(|(of, _)| *of != place).map(|(_, bytes)| bytes).sum();
        let all = statements.get(place).copied().unwrap_or(STATUS_BYTES).saturating_add(bytes);
        if others.saturating_add(all) > self.owner_bytes_max {
            return Err(format!(
                "the results of your statements would have more than {} bytes (setting sql.statement_owner_bytes_max), \
                 {others} of them those of others than this one; delete some, or narrow the statement",
                self.owner_bytes_max
            ));
        }
        statements.insert(place.to_string(), all);
        Ok(())
    }

    /// Pages of a statement have so many bytes.
    pub fn set(&self, place: &str, bytes: u64) {
        self.statements.lock().insert(place.to_string(), bytes.saturating_add(STATUS_BYTES));
    }

    pub fn remove(&self, place: &str) {
        self.statements.lock().remove(place);
    }

    /// All that are counted.
    pub fn places(&self) -> HashSet<String> {
        self.statements.lock().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_keeps_so_much_and_no_more_until_some_of_it_is_gone() {
        let kept = Kept::new(3 * STATUS_BYTES + 100);
        kept.add("ann/1", 0).unwrap();
        kept.add("ann/1", 60).unwrap();
        kept.add("ann/2", 0).unwrap();
        assert!(kept.add("ann/2", STATUS_BYTES + 41).unwrap_err().contains("statement_owner_bytes_max"));
        kept.add("ann/2", STATUS_BYTES + 40).unwrap();
        assert!(kept.add("ann/3", 0).is_err());
        kept.add("ann/2", 0).unwrap();
        // Names that begin alike are others.
        for other in ["an/1", "anna/1", "ann-/1"] {
            kept.add(other, 2 * STATUS_BYTES).unwrap();
        }
        kept.set("ann/2", 0);
        kept.add("ann/3", 0).unwrap();
        kept.remove("ann/1");
        kept.add("ann/3", 60).unwrap();
        assert!(kept.add("ann/3", STATUS_BYTES + 41).is_err());
        assert_eq!(kept.places().len(), 5);
    }
}
