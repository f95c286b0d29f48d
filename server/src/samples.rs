//! What `/metrics` said, kept as the datasource `sys.metrics`: every node takes a sample of its series each interval, a row
//! for each, into a journal that a task on the node reads, as it does that of the audit log ([`journaled`](crate::journaled)).
//!
//! Nothing waits for a sample. One for which there is no room is lost, and counted; what a crash cuts off was never there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use coordinator::Coordinator;
use ingest::Ledger;
use ingest::source::journal::{Journal, JournalLimits};
use serde::Serialize;
use serde_json::json;

use crate::journaled::Journaled;
use crate::metrics::exposition::Family;
use crate::node::now;

/// The datasource and the supervisor that feeds it.
pub const DATASOURCE: &str = "sys.metrics";

pub const JOURNAL: &str = "metrics";

/// All lines that are not published yet: some hours of a node with a thousand series.
const BYTES_MAX: u64 = 64 << 20;
const FILE_BYTES: u64 = 4 << 20;

/// Lines that are not on disk yet.
const QUEUE_BYTES_MAX: usize = 8 << 20;

/// Memory of the rows that are not yet published.
const BYTES_IN_MEMORY: u64 = 16 << 20;

/// Rows that are published as soon as there are so many: at 200 bytes a line, most of what there is room for.
const ROWS_MAX: u64 = 200_000;

/// Series of one sample; those that come after them by name are left out.
const SERIES_MAX: usize = 10_000;

/// Bytes of a line: a series with longer labels is left out.
const LINE_BYTES_MAX: usize = 4 << 10;

/// How often published lines are looked for, and rows that are too old.
const HOUSEKEEPING: Duration = Duration::from_secs(30);

/// Rest between two looks while nothing is recorded.
const REST: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Settings {
    /// Time between two samples; nothing is recorded if it is zero.
    pub interval: Duration,
    /// How often rows are published.
    pub publish: Duration,
    /// Days that rows are kept; 0 for ever.
    pub keep_days: u64,
}

impl Settings {
    /// As it is read and kept.
    pub fn journaled(&self) -> Journaled {
        let texts = ["node", "name", "labels", "kind"].map(|name| json!(name));
        let dimensions: Vec<_> = texts.into_iter().chain([json!({"type": "double", "name": "value"})]).collect();
        Journaled {
            datasource: DATASOURCE,
            journal: JOURNAL,
            data_schema: json!({
                "dataSource": DATASOURCE,
                "timestampSpec": {"column": "time", "format": "millis"},
                "dimensionsSpec": {"dimensions": dimensions},
                "metricsSpec": [],
                "granularitySpec": {"segmentGranularity": "DAY", "queryGranularity": "NONE", "rollup": false},
            }),
            publish: self.publish,
            retention_days: self.keep_days,
            bytes_in_memory: BYTES_IN_MEMORY,
            rows_max: ROWS_MAX,
            is_told: true,
        }
    }
}

pub struct Samples {
    settings: Settings,
    journal: Arc<Journal>,
    /// `host:port`, as rows say where they were taken.
    address: String,
}

#[derive(Serialize)]
struct Line<'a> {
    time: i64,
    node: &'a str,
    name: &'a str,
    labels: &'a str,
    kind: &'a str,
    value: f64,
}

impl Samples {
    /// Opens the journal of a node that works alone, and puts the supervisor that reads it on record. `shared_by` is the name
    /// of this node, where others use the same catalog.
    pub async fn open(
        settings: Settings,
        folder: &Path,
        address: String,
        shared_by: Option<&str>,
        coordinator: &Coordinator,
    ) -> anyhow::Result<Arc<Samples>> {
        let journaled = settings.journaled();
        let own = shared_by.map_or(JOURNAL.to_string(), |node| journaled.journal_of(node));
        let published = journaled.published(coordinator, DATASOURCE, &own).await?;
        let samples = Samples::of(settings, folder, address, &own, published)?;
        coordinator.put_system_supervisor(journaled.supervisor(DATASOURCE, &own), now()).await?;
        Ok(samples)
    }

    /// Opens the journal of a node among others with roles, of which whoever leads knows.
    pub async fn open_of_node(
        settings: Settings,
        folder: &Path,
        address: String,
        node: &str,
        coordinator: &Coordinator,
    ) -> anyhow::Result<Arc<Samples>> {
        let journaled = settings.journaled();
        let own = journaled.journal_of(node);
        let published = journaled.published(coordinator, &coordinator::of_node(DATASOURCE, node), &own).await?;
        Samples::of(settings, folder, address, &own, published)
    }

    fn of(
        settings: Settings,
        folder: &Path,
        address: String,
        own: &str,
        published: i64,
    ) -> anyhow::Result<Arc<Samples>> {
        let limits = JournalLimits { file_bytes: FILE_BYTES, bytes_max: BYTES_MAX, queue_bytes_max: QUEUE_BYTES_MAX };
        let journal = Arc::new(Journal::open(own, &folder.join(JOURNAL), published, limits)?);
        Ok(Arc::new(Samples { settings, journal, address }))
    }

    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Takes what there is now.
    fn take(&self, families: &[Family], time: i64) {
        let samples = families.iter().flat_map(|family| family.samples.iter().map(|sample| (sample, &family.kind)));
        let (mut taken, mut lost) = (0, 0);
        for (sample, kind) in samples.filter(|(sample, _)| sample.value.is_finite()).take(SERIES_MAX) {
            // By name, so that one text stands for the same labels.
            let labels: BTreeMap<&str, &str> =
                sample.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => serde_json::to_string(&labels).unwrap_or_default(),
            };
            let line =
                Line { time, node: &self.address, name: &sample.name, labels: &labels, kind, value: sample.value };
            // A struct of texts and numbers always has a line.
            let line = serde_json::to_vec(&line).unwrap_or_default();
            let fits = line.len() <= LINE_BYTES_MAX && self.journal.append(&line).is_ok();
            if fits { taken += 1 } else { lost += 1 }
        }
        metrics::counter!("henge_server_samples_total", "outcome" => "recorded").increment(taken);
        metrics::counter!("henge_server_samples_total", "outcome" => "lost").increment(lost);
    }

    /// Deletes files of the journal whose lines are published.
    async fn tidy(&self, supervisor: &str, ledger: &dyn Ledger) -> anyhow::Result<()> {
        let committed = ledger.positions(supervisor).await?;
        if let Some(published) = committed.0.get(&self.journal.partition()).copied() {
            let journal = self.journal.clone();
            tokio::task::spawn_blocking(move || journal.forget_before(published)).await??;
        }
        Ok(())
    }

    /// Writes what is queued; later samples are lost.
    pub async fn close(self: &Arc<Samples>) {
        let samples = self.clone();
        // A panic there has been printed.
        let _ = tokio::task::spawn_blocking(move || samples.journal.close()).await;
    }
}

/// Takes samples for as long as the node runs; `families` gives what there is, and nothing once the node is gone.
pub async fn record(samples: Weak<Samples>, families: impl Fn() -> Option<Vec<Family>>) {
    loop {
        let Some(taking) = samples.upgrade() else { return };
        let interval = taking.settings.interval;
        if !interval.is_zero() {
            let Some(families) = families() else { return };
            taking.take(&families, now());
        }
        drop(taking);
        tokio::time::sleep(if interval.is_zero() { REST } else { interval }).await;
    }
}

/// Deletes published lines for as long as the node runs. A `coordinator` that this process leads by takes rows out of use that
/// are too old; where others lead they do.
pub async fn keep_house(
    samples: Weak<Samples>,
    supervisor: String,
    ledger: Arc<dyn Ledger>,
    coordinator: Option<Arc<Coordinator>>,
) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        let Some(samples) = samples.upgrade() else { return };
        let expired = match &coordinator {
            Some(coordinator) => samples.settings.journaled().expire(coordinator).await,
            None => Ok(()),
        };
        if let Err(error) = expired.map_err(Into::into).and(samples.tidy(&supervisor, &*ledger).await) {
            tracing::warn!(%error, "the samples of metrics are not tidied");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::exposition::families;

    fn samples(folder: &Path) -> Arc<Samples> {
        let settings = Settings { interval: Duration::ZERO, publish: Duration::from_secs(1), keep_days: 7 };
        Samples::of(settings, folder, "h:1".into(), JOURNAL, 0).expect("a journal")
    }

    fn lines(folder: &Path) -> Vec<String> {
        let mut files: Vec<_> =
            std::fs::read_dir(folder.join(JOURNAL)).expect("files").map(|file| file.expect("a file").path()).collect();
        files.sort();
        let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("text"));
        texts.flat_map(|text| text.lines().map(str::to_string).collect::<Vec<_>>()).collect()
    }

    #[test]
    fn a_sample_is_a_line_for_each_series_that_is_a_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let samples = samples(folder.path());
        let rendered = "# TYPE q_total counter\nq_total{z=\"1\",a=\"\\\"\"} 3\n# TYPE g gauge\ng NaN\n# TYPE s_seconds histogram\n\
            s_seconds_bucket{le=\"+Inf\"} 2\ns_seconds_sum 0.5\ns_seconds_count 2\n";
        samples.take(&families(rendered), 7);
        samples.journal.close();
        expect_test::expect![[r#"
            {"time":7,"node":"h:1","name":"q_total","labels":"{\"a\":\"\\\"\",\"z\":\"1\"}","kind":"counter","value":3.0}
            {"time":7,"node":"h:1","name":"s_seconds_bucket","labels":"{\"le\":\"+Inf\"}","kind":"histogram","value":2.0}
            {"time":7,"node":"h:1","name":"s_seconds_sum","labels":"","kind":"histogram","value":0.5}
            {"time":7,"node":"h:1","name":"s_seconds_count","labels":"","kind":"histogram","value":2.0}"#]]
        .assert_eq(&lines(folder.path()).join("\n"));
    }

    #[test]
    fn a_sample_is_bounded_in_series_and_in_the_length_of_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let samples = samples(folder.path());
        let mut rendered = format!("# TYPE a gauge\na{{l=\"{}\"}} 1\n# TYPE b gauge\n", "x".repeat(LINE_BYTES_MAX));
        (0..SERIES_MAX * 2).for_each(|n| rendered += &format!("b{{n=\"{n}\"}} 1\n"));
        samples.take(&families(&rendered), 7);
        samples.journal.close();
        assert_eq!(lines(folder.path()).len(), SERIES_MAX - 1);
    }
}
