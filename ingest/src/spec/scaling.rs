//! `autoScalerConfig`: how many tasks read a stream, by how far they are behind. Only the strategy `lagBased`; Druid's fields,
//! defaults and bounds.

use segment::error::{Error, Result};
use serde_json::Value;

use super::fields::{Fields, kind_of, not_one_of};

/// As it is in force: `None` of one that is not enabled.
#[derive(Debug, Clone, PartialEq)]
pub struct AutoScaler {
    pub task_count_min: u32,
    pub task_count_max: u32,
    pub task_count_start: Option<u32>,
    /// How partitions' lags make one.
    pub lag_aggregate: LagAggregate,
    /// A lag is taken down so often, …
    pub lag_collection_interval_millis: i64,
    /// … and looked at for so long.
    pub lag_collection_range_millis: i64,
    /// After the start, beside the range.
    pub scale_action_start_delay_millis: i64,
    /// How often it is looked at.
    pub scale_action_period_millis: i64,
    pub scale_out_threshold: i64,
    /// The share of lags at or above the threshold.
    pub scale_out_fraction: f64,
    pub scale_out_step: u32,
    pub scale_in_threshold: i64,
    /// The share of lags at or below the threshold.
    pub scale_in_fraction: f64,
    pub scale_in_step: u32,
    /// Since the number changed last.
    pub scale_up_delay_millis: i64,
    pub scale_down_delay_millis: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LagAggregate {
    Sum,
    Max,
    Average,
}

/// Lags that are kept of one supervisor at most: a value each.
const LAGS_MAX: i64 = 1_000;
const TASKS_MAX: i64 = 1_000;

const FIELDS: [&str; 19] = [
    "enableTaskAutoScaler",
    "autoScalerStrategy",
    "taskCountMin",
    "taskCountMax",
    "taskCountStart",
    "lagAggregate",
    "lagCollectionIntervalMillis",
    "lagCollectionRangeMillis",
    "scaleActionStartDelayMillis",
    "scaleActionPeriodMillis",
    "scaleOutThreshold",
    "triggerScaleOutFractionThreshold",
    "scaleOutStep",
    "scaleInThreshold",
    "triggerScaleInFractionThreshold",
    "scaleInStep",
    "minTriggerScaleActionFrequencyMillis",
    "minScaleUpDelay",
    "minScaleDownDelay",
];

/// Of the strategy `costBased`, and how many tasks stop at a time: here a change has all of them publish at once.
const UNUSED: [&str; 10] = [
    "stopTaskCountRatio",
    "lagWeight",
    "idleWeight",
    "optimalTaskIdleRatio",
    "useTaskCountBoundariesOnScaleUp",
    "useTaskCountBoundariesOnScaleDown",
    "scaleDownDuringTaskRolloverOnly",
    "usePollIdleRatio",
    "criticalLagThreshold",
    "highLagCostFactor",
];

impl AutoScaler {
    /// What is not enabled is not checked further than its fields' names.
    pub(super) fn read(json: &Value, path: &str, ignored: &mut Vec<String>) -> Result<Option<AutoScaler>> {
        let mut unused = Vec::new();
        let f = Fields::open(json, path, &FIELDS, &UNUSED, &mut unused)?;
        if !f.flag("enableTaskAutoScaler", false)? {
            return Ok(None);
        }
        ignored.extend(unused);
        match f.text("autoScalerStrategy")?.as_deref() {
            None | Some("lagBased") => {}
            Some("costBased") => {
                let at = f.path_of("autoScalerStrategy");
                return Err(Error::invalid(format!("{at} \"costBased\" is not supported; give lagBased")));
            }
            Some(other) => return Err(not_one_of(&f.path_of("autoScalerStrategy"), other, &["lagBased"])),
        }
        let count = |name: &str, least: i64| -> Result<Option<u32>> {
            let Some(count) = f.whole(name)? else { return Ok(None) };
            if !(least..=TASKS_MAX).contains(&count) {
                let at = f.path_of(name);
                return Err(Error::invalid(format!("{at} must be from {least} to {TASKS_MAX}, not {count}")));
            }
            Ok(Some(count as u32))
        };
        let required = |name: &str| {
            let at = f.path_of(name);
            count(name, 1)?
                .ok_or_else(|| Error::invalid(format!("{at} is required where enableTaskAutoScaler is true")))
        };
        let (task_count_min, task_count_max) = (required("taskCountMin")?, required("taskCountMax")?);
        if task_count_max < task_count_min {
            let at = f.path_of("taskCountMax");
            let text = format!("{at} must be at least taskCountMin, {task_count_min}, not {task_count_max}");
            return Err(Error::invalid(text));
        }
        let task_count_start = count("taskCountStart", 1)?;
        if let Some(start) = task_count_start.filter(|start| !(task_count_min..=task_count_max).contains(start)) {
            let at = f.path_of("taskCountStart");
            let text = format!(
                "{at} must be from taskCountMin to taskCountMax, {task_count_min} to {task_count_max}, not {start}"
            );
            return Err(Error::invalid(text));
        }
        let interval = f.at_least("lagCollectionIntervalMillis", 1, 30_000)?;
        let range = f.at_least("lagCollectionRangeMillis", 1, 600_000)?;
        if range < interval {
            let at = f.path_of("lagCollectionRangeMillis");
            let text = format!("{at} must be at least lagCollectionIntervalMillis, {interval}, not {range}");
            return Err(Error::invalid(text));
        }
        if range / interval > LAGS_MAX {
            let at = f.path_of("lagCollectionIntervalMillis");
            let least = range / LAGS_MAX + 1;
            let text = format!("{at} must be at least {least} for that range: no more than {LAGS_MAX} lags are kept");
            return Err(Error::invalid(text));
        }
        let out = f.at_least("scaleOutThreshold", 0, 6_000_000)?;
        let within = f.at_least("scaleInThreshold", 0, 1_000_000)?;
        if within > out {
            let at = f.path_of("scaleInThreshold");
            return Err(Error::invalid(format!("{at} must not be above scaleOutThreshold, {out}; it is {within}")));
        }
        let rest = f.at_least("minTriggerScaleActionFrequencyMillis", 0, 600_000)?;
        if f.get("stopTaskCountRatio").is_some() {
            fraction(&f, "stopTaskCountRatio", 1.0)?;
        }
        Ok(Some(AutoScaler {
            task_count_min,
            task_count_max,
            task_count_start,
            lag_aggregate: match f.text("lagAggregate")?.as_deref() {
                None | Some("SUM") => LagAggregate::Sum,
                Some("MAX") => LagAggregate::Max,
                Some("AVERAGE") => LagAggregate::Average,
                Some(other) => {
                    return Err(not_one_of(&f.path_of("lagAggregate"), other, &["SUM", "MAX", "AVERAGE"]));
                }
            },
            lag_collection_interval_millis: interval,
            lag_collection_range_millis: range,
            scale_action_start_delay_millis: f.at_least("scaleActionStartDelayMillis", 0, 300_000)?,
            scale_action_period_millis: f.at_least("scaleActionPeriodMillis", 1, 60_000)?,
            scale_out_threshold: out,
            scale_out_fraction: fraction(&f, "triggerScaleOutFractionThreshold", 0.3)?,
            scale_out_step: count("scaleOutStep", 1)?.unwrap_or(2),
            scale_in_threshold: within,
            scale_in_fraction: fraction(&f, "triggerScaleInFractionThreshold", 0.9)?,
            scale_in_step: count("scaleInStep", 1)?.unwrap_or(1),
            scale_up_delay_millis: f.period("minScaleUpDelay")?.unwrap_or(rest),
            scale_down_delay_millis: f.period("minScaleDownDelay")?.unwrap_or(rest),
        }))
    }

    /// Of a supervisor that is posted for the first time.
    pub fn first_count(&self) -> u32 {
        self.task_count_start.unwrap_or(self.task_count_min)
    }
}

/// Above 0, up to 1.
fn fraction(f: &Fields, name: &str, default: f64) -> Result<f64> {
    let Some(value) = f.get(name) else { return Ok(default) };
    let number = match value {
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    let at = f.path_of(name);
    match number {
        Some(number) if number > 0.0 && number <= 1.0 => Ok(number),
        _ => Err(Error::invalid(format!(
            "{at} must be a share above 0 and up to 1, such as 0.3, not {}",
            kind_of(value)
        ))),
    }
}
