//! How the alerts of others stand: kept for them, and given no meaning. What an alert's turn came to, what changed by it and
//! what of that is to be told to whom are written in one transaction, by the one that leads: so a turn is on record once,
//! and whoever leads next goes on from it, telling what is not told yet.

use serde_json::Value;

use crate::Coordinator;
use crate::catalog::alerts;
use crate::error::Result;

/// Changes of an alert that stay on record.
pub const HISTORY_KEPT: usize = 100;

/// How an alert stands since its last turn.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertState {
    pub alert: String,
    /// When that turn was, in milliseconds since 1970.
    pub turn: i64,
    pub state: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub struct AlertChange {
    /// Greater than that of every change of the alert before.
    pub number: i64,
    pub at: i64,
    pub change: Value,
    /// What is to be told, by channel.
    pub notices: Vec<(String, Value)>,
}

/// What is still to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertNotice {
    pub alert: String,
    pub number: i64,
    pub channel: String,
    pub notice: Value,
    pub created_at: i64,
    /// How often it was tried.
    pub tries: i64,
}

/// What became of telling it.
#[derive(Debug, Clone, PartialEq)]
pub struct NoticeOutcome {
    pub alert: String,
    pub number: i64,
    pub channel: String,
    pub tries: i64,
    /// When it was told, or given up; `None` if it is to be tried again.
    pub ended: Option<i64>,
    /// Why it was not told, the last time.
    pub error: Option<String>,
}

/// What is written together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertRecord {
    pub turns: Vec<(AlertState, Vec<AlertChange>)>,
    pub outcomes: Vec<NoticeOutcome>,
    /// Alerts that there are no more.
    pub gone: Vec<String>,
}

/// A change as it is on record.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertEntry {
    pub number: i64,
    pub at: i64,
    pub change: Value,
    pub notified: Vec<Notified>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Notified {
    pub channel: String,
    pub tries: i64,
    /// `None` if it is not told yet.
    pub ended: Option<i64>,
    pub error: Option<String>,
}

impl Coordinator {
    pub async fn alert_states(&self) -> Result<Vec<AlertState>> {
        alerts::states(&mut self.read().await?).await
    }

    /// The oldest of what is to be told yet.
    pub async fn alert_notices(&self, most: usize) -> Result<Vec<AlertNotice>> {
        alerts::to_send(&mut self.read().await?, i64::try_from(most).unwrap_or(i64::MAX)).await
    }

    /// Newest first.
    pub async fn alert_history(&self, alert: &str, most: usize) -> Result<Vec<AlertEntry>> {
        alerts::history(&mut self.read().await?, alert, i64::try_from(most).unwrap_or(i64::MAX)).await
    }

    /// All of it or nothing. After an error it may have happened: what is on record is to be read again.
    pub async fn record_alerts(&self, record: AlertRecord) -> Result<()> {
        let this = self.clone();
        self.to_its_end(async move { this.record_alerts_now(&record).await }).await
    }

    async fn record_alerts_now(&self, record: &AlertRecord) -> Result<()> {
        let turn = self.turn().await?;
        let mut store = turn.begin().await?;
        for (state, changes) in &record.turns {
            alerts::put_state(&mut store, state).await?;
            for change in changes {
                alerts::add_change(&mut store, &state.alert, change, HISTORY_KEPT as i64).await?;
            }
        }
        for outcome in &record.outcomes {
            alerts::put_outcome(&mut store, outcome).await?;
        }
        for alert in &record.gone {
            alerts::forget(&mut store, alert).await?;
        }
        store.commit().await
    }
}
