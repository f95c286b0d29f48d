//! The journal of a node among others with roles: what of it is published is known to whoever leads.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ingest::Ledger;

use super::{Audit, rest};

/// How often a node asks up to where its lines are published: files are deleted as a whole, and are few.
const PUBLISHED_LOOK: Duration = Duration::from_secs(30);

/// Deletes published lines of a node's journal, for as long as it runs.
pub async fn keep_house_of_node(audit: Weak<Audit>, supervisor: String, ledger: Arc<dyn Ledger>) {
    while let Some(audit) = rest(&audit, PUBLISHED_LOOK).await {
        let tidied = async {
            let committed = ledger.positions(&supervisor).await?;
            match committed.0.get(&audit.journal.partition()) {
                Some(published) => audit.forget_before(*published).await,
                None => Ok(()),
            }
        };
        if let Err(error) = tidied.await {
            tracing::warn!(%error, "the journal of the audit log is not tidied");
        }
    }
}
