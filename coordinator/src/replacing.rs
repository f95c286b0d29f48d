//! Who may take away what stands in a datasource.
//!
//! A task that replaces rows takes those away, too, that whoever posted it may not see. Whether they may is asked in the
//! transaction that publishes, whatever held when the task was posted: the datasource may have been empty then, and rules may
//! be others by now. What a rule means the coordinator does not know: it asks by a port, [`Sight`].

use std::sync::Arc;

use tracing::warn;

use crate::Coordinator;
use crate::catalog::{Publication, PublishMode};
use crate::command::Poster;
use crate::error::{Error, Result};

/// What is asked of those who know users and rules.
pub trait Sight: Send + Sync {
    /// Why a poster must not replace rows of a datasource, if they must not. `is_there` says whether it has any rows that are
    /// published. Documents do not change while this is asked; of the coordinator it may ask for them alone.
    fn hindrance(&self, poster: &Poster, datasource: &str, is_there: bool) -> Option<String>;
}

impl Coordinator {
    /// From now on this is asked of each publication that replaces rows. Once; later calls change nothing. Until then, tasks
    /// whose poster is known replace nothing.
    pub fn ask_of_sight(&self, sight: Arc<dyn Sight>) {
        let _ = self.inner.sight.set(sight);
    }

    /// Refuses a publication that takes away what its poster may not take away. Within the turn to write.
    pub(crate) fn check_sight(&self, what: &Publication) -> Result<()> {
        if matches!(what.mode, PublishMode::Append) {
            return Ok(());
        }
        let (poster, is_there) = {
            let picture = self.inner.picture.read();
            let task = picture.tasks.get(&what.task);
            let poster = task.and_then(|task| task.record.poster.clone());
            (poster, picture.segments.contains_key(&what.datasource))
        };
        let hindrance = match (self.inner.sight.get(), poster) {
            (Some(sight), Some(poster)) => sight.hindrance(&poster, &what.datasource, is_there),
            (Some(_), None) => Some("it is not known who posted it; post it again".to_string()),
            (None, Some(_)) => Some("nobody is there yet to ask whether it may; post it again".to_string()),
            // Without users there are no rules either.
            (None, None) => None,
        };
        let Some(hindrance) = hindrance else { return Ok(()) };
        let (task, datasource) = (&what.task, &what.datasource);
        warn!(task, datasource, hindrance, "a task may not replace rows");
        Err(Error::Invalid(format!("the task replaces rows of [{datasource}] and is not published: {hindrance}")))
    }
}
