//! What an operator sets for the placement of segments while the cluster runs: Druid's dynamic configuration of the
//! Coordinator, one document of the catalog.
//!
//! Of its fields these mean something here: `smartSegmentLoading`, `maxSegmentsToMove`, `maxSegmentsInNodeLoadingQueue`,
//! `decommissioningNodes` and `pauseCoordination`. All others, known or not, are kept and given back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::Coordinator;
use crate::documents::{Change, Document};
use crate::error::{Error, Result};

pub(crate) const KIND: &str = "config";
const NAME: &str = "coordinator";

/// Segments that one node is told to load at a time; without `smartSegmentLoading`, a setting.
const QUEUE_MAX: usize = 500;
/// Segments that move at a time in one tier: without `smartSegmentLoading`, a setting; with it, a share of the tier's
/// copies within these bounds. A share, as a tier of many is to be in balance in as many steps as one of few.
const MOVES_MIN: usize = 100;
const MOVES_MAX: usize = 1_000;
const COPIES_PER_MOVE: usize = 200;

/// A setting that is a number is at most this: a greater one is a mistake.
const NUMBER_MAX: u64 = 1_000_000;

/// The settings in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tuning {
    pub queue_max: usize,
    /// `None` leaves it to [`Tuning::moves_max`].
    moves_max: Option<usize>,
    /// By name or address.
    pub decommissioning: BTreeSet<String>,
    /// Nothing is placed, moved, dropped or taken out of use.
    pub paused: bool,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { queue_max: QUEUE_MAX, moves_max: None, decommissioning: BTreeSet::new(), paused: false }
    }
}

impl Tuning {
    pub fn read(documents: Option<&BTreeMap<String, Arc<Document>>>) -> Tuning {
        let Some(document) = documents.and_then(|of| of.get(NAME)) else { return Tuning::default() };
        Tuning::parse(&document.value).unwrap_or_else(|error| {
            tracing::error!(%error, "the dynamic configuration on record cannot be read; the defaults hold");
            Tuning::default()
        })
    }

    /// Segments that may move at a time in a tier that has so many copies.
    pub fn moves_max(&self, copies: usize) -> usize {
        self.moves_max.unwrap_or((copies / COPIES_PER_MOVE).clamp(MOVES_MIN, MOVES_MAX))
    }

    fn parse(config: &Value) -> Result<Tuning> {
        let Some(config) = config.as_object() else {
            return Err(Error::Invalid("the dynamic configuration must be an object".to_string()));
        };
        let moves_max = number(config, "maxSegmentsToMove")?.unwrap_or(MOVES_MIN);
        let queue_max = number(config, "maxSegmentsInNodeLoadingQueue")?.unwrap_or(QUEUE_MAX);
        let smart = flag(config, "smartSegmentLoading", true)?;
        Ok(Tuning {
            // Druid's 0 is no bound; here there is always one.
            queue_max: if smart || queue_max == 0 { QUEUE_MAX } else { queue_max },
            moves_max: (!smart).then_some(moves_max),
            decommissioning: names(config, "decommissioningNodes")?,
            paused: flag(config, "pauseCoordination", false)?,
        })
    }
}

fn number(config: &Map<String, Value>, key: &str) -> Result<Option<usize>> {
    let Some(value) = config.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
    match value.as_u64().filter(|number| *number <= NUMBER_MAX) {
        Some(number) => Ok(Some(number as usize)),
        None => Err(Error::Invalid(format!("{key} is {value}: give a whole number from 0 to {NUMBER_MAX}"))),
    }
}

fn flag(config: &Map<String, Value>, key: &str, default: bool) -> Result<bool> {
    match config.get(key).filter(|value| !value.is_null()) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(value) => Err(Error::Invalid(format!("{key} is {value}: give true or false"))),
    }
}

fn names(config: &Map<String, Value>, key: &str) -> Result<BTreeSet<String>> {
    let wrong = |value: &Value| {
        Error::Invalid(format!(
            "{key} is {value}: give an array of the names of nodes, such as [\"historical-1:8083\"]"
        ))
    };
    match config.get(key).filter(|value| !value.is_null()) {
        None => Ok(BTreeSet::new()),
        Some(value) => {
            let list = value.as_array().ok_or_else(|| wrong(value))?;
            list.iter().map(|name| name.as_str().map(str::to_string).ok_or_else(|| wrong(value))).collect()
        }
    }
}

fn defaults() -> Value {
    json!({
        "millisToWaitBeforeDeleting": 900_000,
        "smartSegmentLoading": true,
        "maxSegmentsToMove": MOVES_MIN,
        "replicantLifetime": 15,
        "replicationThrottleLimit": 500,
        "balancerComputeThreads": 1,
        "maxSegmentsInNodeLoadingQueue": QUEUE_MAX,
        "useRoundRobinSegmentAssignment": true,
        "killDataSourceWhitelist": [],
        "killTaskSlotRatio": 0.1,
        "maxKillTaskSlots": i32::MAX,
        "killPendingSegmentsSkipList": [],
        "decommissioningNodes": [],
        "turboLoadingNodes": [],
        "cloneServers": {},
        "historicalTierAliases": {},
        "pauseCoordination": false,
        "replicateAfterLoadTimeout": false,
        "debugDimensions": null,
    })
}

impl Coordinator {
    /// The dynamic configuration: what was posted, and the defaults of what was not.
    pub fn dynamic_config(&self) -> Value {
        let mut config = defaults();
        let posted = self.document(KIND, NAME);
        if let (Some(config), Some(posted)) =
            (config.as_object_mut(), posted.as_ref().and_then(|document| document.value.as_object()))
        {
            config.extend(posted.clone());
        }
        config
    }

    /// Sets the fields that are given; the others stay as they are.
    pub async fn set_dynamic_config(&self, fields: Value, by: &str, now: i64) -> Result<()> {
        let Value::Object(fields) = fields else {
            return Err(Error::Invalid("the dynamic configuration must be an object".to_string()));
        };
        let before = self.document(KIND, NAME);
        let mut config = before.as_ref().and_then(|document| document.value.as_object().cloned()).unwrap_or_default();
        config.extend(fields);
        let config = Value::Object(config);
        Tuning::parse(&config)?;
        // Two who change other fields at a time must not undo each other.
        let expected = Some(before.map_or(0, |document| document.version));
        let change = Change { kind: KIND, name: NAME.to_string(), value: Some(config), expected, history: true };
        self.change_documents(vec![change], by, now).await?;
        self.wake();
        Ok(())
    }

    /// What the posted fields were, newest first.
    pub async fn dynamic_config_history(&self, most: usize) -> Result<Vec<Document>> {
        self.document_history(KIND, NAME, most).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tuned_by_hand_counts_only_without_smart_loading() {
        let by_hand = json!({"maxSegmentsToMove": 7, "maxSegmentsInNodeLoadingQueue": 9, "unheardOf": [1]});
        let smart = Tuning::parse(&by_hand).unwrap();
        assert_eq!((smart.queue_max, smart.moves_max(0), smart.moves_max(1_000_000)), (500, 100, 1_000));
        let mut config = by_hand;
        config["smartSegmentLoading"] = false.into();
        let tuned = Tuning::parse(&config).unwrap();
        assert_eq!((tuned.queue_max, tuned.moves_max(0), tuned.moves_max(1_000_000)), (9, 7, 7));
        assert_eq!(Tuning::parse(&defaults()).unwrap(), Tuning::default());
        for (key, value) in [
            ("maxSegmentsToMove", json!(-1)),
            ("pauseCoordination", json!("yes")),
            ("decommissioningNodes", json!({"a": 1})),
            ("decommissioningNodes", json!([1])),
        ] {
            let error = Tuning::parse(&json!({key: value})).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
