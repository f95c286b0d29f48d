//! All that is read from the store when a coordinator begins to lead: what is used, wanted or under way.

use crate::catalog::documents::{self, SupervisorRow};
use crate::catalog::rows::{self, SegmentRecord};
use crate::catalog::session::Session;
use crate::catalog::tasks::{self, EndedTask, TaskRow};
use crate::catalog::{members, named};
use crate::documents::Document;
use crate::error::Result;
use crate::node::Member;

/// How many ended tasks of a supervisor are looked at to know how many failed in a row.
const ENDED_TASKS_READ: i64 = 20;

pub(crate) struct Kept {
    /// Number of the newest write of segments and pending names.
    pub number: i64,
    /// Used segments.
    pub segments: Vec<SegmentRecord>,
    /// Those that are not terminated, each with its newest ended tasks, newest first.
    pub supervisors: Vec<(SupervisorRow, Vec<EndedTask>)>,
    /// Those that have not ended.
    pub tasks: Vec<TaskRow>,
    /// Nodes that were not lost.
    pub members: Vec<Member>,
    pub documents: Vec<Document>,
    /// The greatest version of a document so far.
    pub documents_version: i64,
}

impl Kept {
    pub async fn load(connection: &mut Session) -> Result<Kept> {
        let mut supervisors = Vec::new();
        for row in documents::load_supervisors(connection).await? {
            let ended = tasks::load_ended(connection, &row.spec.id, ENDED_TASKS_READ).await?;
            supervisors.push((row, ended));
        }
        Ok(Kept {
            number: rows::newest_number(connection).await?,
            segments: rows::load_used(connection).await?,
            supervisors,
            tasks: tasks::load_live(connection).await?,
            members: members::load(connection).await?,
            documents: named::load(connection).await?,
            documents_version: named::newest_version(connection).await?,
        })
    }
}
