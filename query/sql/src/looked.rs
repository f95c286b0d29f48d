//! The tables and lookups that a statement names, as its asker sees them; they are remembered, for a plan holds only as
//! long as they stay so.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::common::{Result as DfResult, TableReference};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::TableSource;
use query::Principal;
use query::policy::{Action, Kind};
use segment::schema::ValueType;

use crate::leaves::Table;
use crate::planner::{self, Tables};
use crate::{Columns, Error, Sql, idioms, lock, sys, system};

/// Looks up tables for the planner and remembers them.
pub struct Looked<'a> {
    sql: &'a Sql,
    who: &'a Principal,
    pub tables: Mutex<Vec<(String, Arc<Table>)>>,
    /// The datasources that the tables read, as they are now.
    pub members: Mutex<Vec<(String, Columns)>>,
    pub lookups: Mutex<BTreeSet<String>>,
    pub system: AtomicBool,
}

impl<'a> Looked<'a> {
    pub fn new(sql: &'a Sql, who: &'a Principal) -> Looked<'a> {
        Looked {
            sql,
            who,
            tables: Mutex::default(),
            members: Mutex::default(),
            lookups: Mutex::default(),
            system: AtomicBool::new(false),
        }
    }

    fn columns(&self, name: &str) -> DfResult<Columns> {
        let found = self.sql.broker.find_columns(name, self.who);
        let found = found.map_err(|error| DataFusionError::External(Box::new(Error::from(error))))?;
        let Some(columns) = found else {
            return Err(DataFusionError::Plan(format!("Object '{name}' not found")));
        };
        lock(&self.members).push((name.to_string(), columns.clone()));
        Ok(columns)
    }

    /// The columns of all tables by name. Those that differ in type are of one that holds both.
    fn appended(&self, names: &[String]) -> DfResult<Columns> {
        let mut all: Vec<(String, ValueType, bool)> = Vec::new();
        for name in names {
            for (column, value_type, multi) in self.columns(name)?.iter() {
                match all.iter_mut().find(|(known, ..)| known == column) {
                    None => all.push((column.clone(), value_type.clone(), *multi)),
                    Some((_, known, any)) => {
                        *any |= multi;
                        if known != value_type {
                            let numbers = known.is_numeric() && value_type.is_numeric();
                            *known = if numbers { ValueType::Double } else { ValueType::String };
                        }
                    }
                }
            }
        }
        Ok(Arc::new(all))
    }
}

impl Looked<'_> {
    fn datasource(&self, name: &str) -> DfResult<Arc<dyn TableSource>> {
        if let Some((_, table)) = lock(&self.tables).iter().find(|(known, _)| known == name) {
            return Ok(table.clone());
        }
        let columns = self.columns(name)?;
        let table = Arc::new(Table::new(vec![name.to_string()], &columns, self.sql.settings.push_down));
        lock(&self.tables).push((name.to_string(), table.clone()));
        Ok(table)
    }
}

impl Tables for Looked<'_> {
    fn table(&self, reference: &TableReference) -> DfResult<Arc<dyn TableSource>> {
        let refuse = |text: String| Err(DataFusionError::Plan(text));
        if reference.schema() == Some(system::SCHEMA) {
            self.system.store(true, Ordering::Relaxed);
            return match system::table(reference.table(), &self.sql.broker, self.who) {
                Some(table) => table,
                None => refuse(format!("Object '{}' not found within '{}'", reference.table(), system::SCHEMA)),
            };
        }
        if reference.schema() == Some(sys::SCHEMA) {
            let rules = self.sql.broker.authorizer().current();
            if !rules.may(self.who, Kind::SystemTable, reference.table(), Action::Read) {
                let permission = if reference.table() == "metrics" { "STATE" } else { "SYSTEM_TABLE" };
                return Err(DataFusionError::External(Box::new(Error::Query(query::Error::Denied(format!(
                    "you may not read sys.{}; ask an administrator for {permission} READ",
                    reference.table()
                ))))));
            }
            if let Some(name) = sys::datasource(reference.table()) {
                return self.datasource(name);
            }
            self.system.store(true, Ordering::Relaxed);
            return match sys::table(reference.table(), &self.sql.cluster, self.who) {
                Some(table) => Ok(table),
                None => refuse(format!("Object '{}' not found within '{}'", reference.table(), sys::SCHEMA)),
            };
        }
        if reference.schema() == Some(system::LOOKUPS) {
            self.system.store(true, Ordering::Relaxed);
            return match system::lookup(reference.table(), &self.sql.broker, self.who) {
                Some(table) => table,
                None => refuse(format!("Object '{}' not found within '{}'", reference.table(), system::LOOKUPS)),
            };
        }
        if reference.schema() == Some(idioms::APPENDED) {
            let names = idioms::appended(reference.table()).unwrap_or_default();
            let columns = self.appended(&names)?;
            return Ok(Arc::new(Table::new(names, &columns, self.sql.settings.push_down)));
        }
        let Some(name) = planner::datasource(reference) else {
            return refuse(format!("Object '{reference}' not found; tables stand in the schema druid"));
        };
        self.datasource(name)
    }

    fn may_lookup(&self, name: &str) -> bool {
        lock(&self.lookups).insert(name.to_string());
        self.sql.broker.authorizer().current().may(self.who, Kind::Lookup, name, Action::Read)
    }
}
