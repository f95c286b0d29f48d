//! How far a stream was read: partition → next offset to read.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey {
    pub topic: String,
    pub partition: i32,
}

/// The next offset to read of each partition: an exclusive end, an inclusive start. Written as a JSON object
/// `{"topic:partition": offset}` (topic names hold no colon).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Positions(pub BTreeMap<PartitionKey, i64>);

impl PartitionKey {
    pub fn new(topic: impl Into<String>, partition: i32) -> PartitionKey {
        PartitionKey { topic: topic.into(), partition }
    }

    /// The inverse of `Display`.
    pub fn parse(text: &str) -> Option<PartitionKey> {
        let (topic, partition) = text.rsplit_once(':')?;
        Some(PartitionKey::new(topic, partition.parse().ok()?))
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.partition)
    }
}

impl Positions {
    pub fn get(&self, key: &PartitionKey) -> Option<i64> {
        self.0.get(key).copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every partition of `other` is here, at the same offset or beyond.
    pub fn reaches(&self, other: &Positions) -> bool {
        other.0.iter().all(|(key, offset)| self.get(key).is_some_and(|here| here >= *offset))
    }

    /// The same partitions as in `of`, with the offsets of here where they are known.
    pub fn restricted_to(&self, of: &Positions) -> Positions {
        Positions(of.0.keys().filter_map(|key| Some((key.clone(), self.get(key)?))).collect())
    }

    /// Moves the partitions of `other` to its offsets, adding those that are new.
    pub fn advance(&mut self, other: &Positions) {
        self.0.extend(other.0.iter().map(|(key, offset)| (key.clone(), *offset)));
    }

    /// Records from here to `ends`, by partition; a partition that `ends` does not know is left out.
    pub fn lag(&self, ends: &Positions) -> BTreeMap<PartitionKey, i64> {
        let lag = |(key, offset): (&PartitionKey, &i64)| Some((key.clone(), (ends.get(key)? - offset).max(0)));
        self.0.iter().filter_map(lag).collect()
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        f.write_str("{")?;
        for (key, offset) in &self.0 {
            write!(f, "{separator}{key}={offset}")?;
            separator = ", ";
        }
        f.write_str("}")
    }
}

impl Serialize for Positions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, offset)| (key.to_string(), offset)))
    }
}

impl<'de> Deserialize<'de> for Positions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Positions, D::Error> {
        let map = BTreeMap::<String, i64>::deserialize(deserializer)?;
        let entry = |(text, offset): (String, i64)| {
            let key = PartitionKey::parse(&text);
            key.map(|key| (key, offset)).ok_or_else(|| D::Error::custom(format!("{text} is not topic:partition")))
        };
        map.into_iter().map(entry).collect::<Result<_, _>>().map(Positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(entries: &[(&str, i32, i64)]) -> Positions {
        Positions(entries.iter().map(|(t, p, o)| (PartitionKey::new(*t, *p), *o)).collect())
    }

    #[test]
    fn survive_json() {
        let there = positions(&[("a", 0, 5), ("a", 11, 7), ("b.c-d_e", 2, 0)]);
        let text = serde_json::to_string(&there).unwrap();
        assert_eq!(text, r#"{"a:0":5,"a:11":7,"b.c-d_e:2":0}"#);
        assert_eq!(serde_json::from_str::<Positions>(&text).unwrap(), there);
        assert!(serde_json::from_str::<Positions>(r#"{"a":1}"#).is_err());
    }

    #[test]
    fn reaching_needs_every_partition() {
        let here = positions(&[("t", 0, 5), ("t", 1, 9)]);
        assert!(here.reaches(&positions(&[("t", 0, 5)])));
        assert!(!here.reaches(&positions(&[("t", 0, 6)])));
        assert!(!here.reaches(&positions(&[("t", 2, 0)])));
        assert_eq!(positions(&[("t", 0, 3), ("t", 7, 1)]).lag(&here), [(PartitionKey::new("t", 0), 2)].into());
    }
}
