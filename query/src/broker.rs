//! Conductor of a request.

use std::sync::Arc;

use segment::inventory::Inventory;
use segment::schema::ValueType;

use crate::admission::Principal;
use crate::budget::{Budget, Settings};
use crate::error::Result;
use crate::language::Query;
use crate::pool::Pool;
use crate::table::Answer;

/// The only door to the rows.
pub struct Broker {
    inventory: Arc<Inventory>,
    settings: Settings,
    pool: Arc<Pool>,
}

impl Broker {
    pub fn new(inventory: Arc<Inventory>, settings: Settings) -> Arc<Broker> {
        let pool = Arc::new(Pool::new(settings.threads));
        Arc::new(Broker { inventory, settings, pool })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Answers a query within its budget. While it runs, and while its batches are read, [`Broker::cancel`] with the
    /// budget's query id ends it; dropping the answer ends it too.
    pub async fn answer(&self, query: Query, who: &Principal, budget: Budget) -> Result<Answer> {
        let _ = (query, who, budget, &self.inventory);
        todo!()
    }

    /// Ends the queries of that id; whether there were any.
    pub fn cancel(&self, query_id: &str) -> bool {
        let _ = query_id;
        todo!()
    }

    /// The tables that the caller may see, by name.
    pub fn datasources(&self, who: &Principal) -> Vec<String> {
        let _ = who;
        todo!()
    }

    /// Names, types and whether multi-value, merged over the segments: `__time` first, the newest segment's order and
    /// types win. `None` if there is no such table for the caller.
    pub fn columns(&self, datasource: &str, who: &Principal) -> Option<Arc<Vec<(String, ValueType, bool)>>> {
        let _ = (datasource, who);
        todo!()
    }
}
