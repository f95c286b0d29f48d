//! The one gate between a question and the rows: it decides what of them the asker may see. Nothing below runs anything
//! but a [`Leaf`], and only this file makes one; no segment is read but through the leaf's [`Sight`] of its table.
//!
//! 1. [`Authorizer::admit`] works out the restriction of every table that a query reads, wherever in it, and refuses the
//!    query if one of them may not be read.
//! 2. [`Authorizer::recheck`] does so again where the rows are, and refuses a leaf whose restrictions differ.
//! 3. [`Authorizer::still_sees`] does so again when rows that were made earlier are handed out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use segment::lookup::Lookups;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::error::{Error, Result};
use crate::language::Query;
use crate::policy::{Action, Kind, Restriction, Rules};

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    pub name: String,
    /// Those that it has itself; rules say what they include. Policies, column rules and quotas of all of them hold.
    pub roles: BTreeSet<String>,
    /// The roles by whose permissions it acts, if not by those of all: a token may be for some of its owner's roles. Fewer
    /// permissions never show more rows.
    pub scope: Option<BTreeSet<String>>,
    pub groups: BTreeSet<String>,
    pub attributes: BTreeMap<String, Vec<String>>,
}

/// A query that was let in, with what it may see.
#[derive(Debug, Clone)]
pub struct Leaf {
    query: Arc<Query>,
    who: Arc<Principal>,
    sight: Arc<Sight>,
}

/// What is seen of the tables of one query. A table that is not in it is not seen.
#[derive(Debug, PartialEq)]
pub struct Sight {
    tables: BTreeMap<String, Restriction>,
}

/// What a statement reads, and by which rules its asker saw that when it began. It is kept beside its rows, also beyond the
/// process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Terms {
    /// The key of the restriction of each table.
    tables: BTreeMap<String, String>,
    lookups: BTreeSet<String>,
    /// Where it reads lists of what there is, which are made by all rules for all that the asker is: these two.
    #[serde(skip_serializing_if = "Option::is_none")]
    lists: Option<String>,
}

/// Lets queries in by the rules there are now.
#[derive(Debug)]
pub struct Authorizer {
    rules: ArcSwap<Rules>,
    /// The version of the rules in force.
    replaced: watch::Sender<u64>,
}

impl Principal {
    /// Someone without a role of their own.
    pub fn new(name: impl Into<String>) -> Principal {
        Principal { name: name.into(), ..Principal::default() }
    }

    /// The roles by whose permissions it acts, without those that they include.
    pub fn acting_roles(&self) -> BTreeSet<String> {
        match &self.scope {
            None => self.roles.clone(),
            Some(scope) => self.roles.intersection(scope).cloned().collect(),
        }
    }
}

impl Authorizer {
    pub fn new(rules: Rules) -> Arc<Authorizer> {
        Authorizer::of(Arc::new(rules))
    }

    /// By rules that others may go by as well.
    pub fn of(rules: Arc<Rules>) -> Arc<Authorizer> {
        let replaced = watch::Sender::new(rules.version());
        Arc::new(Authorizer { rules: ArcSwap::new(rules), replaced })
    }

    /// Everyone may do everything.
    pub fn open() -> Arc<Authorizer> {
        Authorizer::new(Rules::open())
    }

    pub fn current(&self) -> Arc<Rules> {
        self.rules.load_full()
    }

    /// In force from the next query on.
    pub fn replace(&self, rules: Rules) {
        let version = rules.version();
        self.rules.store(Arc::new(rules));
        self.replaced.send_replace(version);
    }

    /// Changes after the rules were replaced.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.replaced.subscribe()
    }

    /// What a principal sees of a table.
    pub fn restriction(&self, who: &Principal, table: &str) -> Result<Restriction> {
        self.rules.load().restriction(who, table)
    }

    /// Whether a principal may read a table at all.
    pub fn may_read(&self, who: &Principal, table: &str) -> bool {
        self.rules.load().may(who, Kind::Datasource, table, Action::Read)
    }

    /// Whether a principal may know how a datasource's supervisors or tasks stand: that tells of all its rows.
    pub fn sees_work(&self, who: &Principal, kind: Kind, table: &str) -> bool {
        let rules = self.rules.load();
        // Whoever acts by fewer of its roles does not see more for it.
        let owner = Principal { scope: None, ..who.clone() };
        let hides = |who| rules.may(who, Kind::Datasource, table, Action::Read) && rules.is_restricted(who, table);
        rules.may(who, kind, table, Action::Read) && !hides(&owner) && !hides(who)
    }

    /// Runs a parser to which the lookups that a principal may read are those that are there.
    pub fn scope<T>(&self, lookups: &Lookups, who: &Principal, parse: impl FnOnce() -> T) -> T {
        let rules = self.rules.load_full();
        lookups.scope_of(|name| rules.may(who, Kind::Lookup, name, Action::Read), parse)
    }

    /// Lets a query in.
    pub(crate) fn admit(&self, query: Arc<Query>, who: &Principal) -> Result<Leaf> {
        let sight = Arc::new(self.sight(&query.scope().source.tables(), who)?);
        Ok(Leaf { query, who: Arc::new(who.clone()), sight })
    }

    /// Lets in a part of a query that was let in elsewhere: only if the asker sees here, by these rules, what it sees there.
    /// `keys` are the keys of the restrictions there, by table.
    pub(crate) fn admit_part(
        &self,
        query: Arc<Query>,
        who: &Principal,
        keys: &BTreeMap<String, String>,
    ) -> Result<Leaf> {
        let sight = self.sight_of_part(&query.scope().source.tables(), who, keys)?;
        Ok(Leaf { query, who: Arc::new(who.clone()), sight: Arc::new(sight) })
    }

    /// What is seen of some tables; an error if it is not what is seen elsewhere.
    pub(crate) fn sight_of_part(
        &self,
        tables: &[&str],
        who: &Principal,
        keys: &BTreeMap<String, String>,
    ) -> Result<Sight> {
        let sight = self.sight(tables, who)?;
        match sight.tables.iter().all(|(table, own)| keys.get(table).is_some_and(|key| key == own.key())) {
            true => Ok(sight),
            false => Err(Error::Denied(
                "what you may see is not the same on all nodes: rules have just changed; ask again".into(),
            )),
        }
    }

    /// What is told of tables' columns, which another process let be told.
    pub(crate) fn sight_of_columns(&self, who: &Principal, keys: &BTreeMap<String, String>) -> Result<Sight> {
        let mut sight = Sight { tables: BTreeMap::new() };
        for (table, key) in keys {
            let own = self.rules.load().restriction(who, table);
            let told = match own {
                Ok(own) if own.key() == key => own,
                _ if key.is_empty() => {
                    return self.sight_for_rules(table, who, &Restriction::Unrestricted);
                }
                _ => return Err(Error::Denied("what you may see is not the same on all nodes; ask again".into())),
            };
            sight.tables.insert(table.clone(), told);
        }
        Ok(sight)
    }

    /// What is seen of a table to whom all its columns, or those that it sees, are told.
    pub(crate) fn sight_for_rules(&self, table: &str, who: &Principal, restriction: &Restriction) -> Result<Sight> {
        let own = self.rules.load().restriction(who, table);
        let rules = self.rules.load();
        let writes = || rules.may(who, Kind::Security, "SECURITY", Action::Write);
        match own {
            Ok(own) if own == *restriction => {}
            _ if writes() => {}
            _ => return Err(Error::Denied(format!("you may not be told of all columns of [{table}]"))),
        }
        Ok(Sight { tables: BTreeMap::from([(table.to_string(), restriction.clone())]) })
    }

    /// What is seen of some tables; an error if one of them may not be read.
    pub(crate) fn sight(&self, tables: &[&str], who: &Principal) -> Result<Sight> {
        let rules = self.rules.load_full();
        let mut sight = Sight { tables: BTreeMap::new() };
        for table in tables {
            if !sight.tables.contains_key(*table) {
                sight.tables.insert(table.to_string(), rules.restriction(who, table)?);
            }
        }
        Ok(sight)
    }

    /// By which rules a principal sees what a statement reads; an error if some of it may not be read.
    pub fn terms<'a>(
        &self,
        who: &Principal,
        tables: impl Iterator<Item = &'a str>,
        lookups: &BTreeSet<String>,
        lists: bool,
    ) -> Result<Terms> {
        let rules = self.rules.load_full();
        let mut terms = Terms { lookups: lookups.clone(), ..Terms::default() };
        for table in tables {
            terms.tables.insert(table.to_string(), rules.restriction(who, table)?.key().to_string());
        }
        if let Some(lookup) = lookups.iter().find(|lookup| !rules.may(who, Kind::Lookup, lookup, Action::Read)) {
            return Err(Error::Denied(format!("you may not read lookup [{lookup}], or there is none")));
        }
        if lists {
            terms.lists = Some(format!("{} {who:?}", rules.stamp()));
        }
        Ok(terms)
    }

    /// Refuses to hand out rows that were made when their asker saw something else than a principal sees now. What may not be
    /// read is not named: whoever asks need not know what the statement read.
    pub fn still_sees(&self, who: &Principal, terms: &Terms) -> Result<()> {
        let now =
            self.terms(who, terms.tables(), &terms.lookups, terms.lists.is_some()).map_err(|error| match error {
                Error::Denied(_) => {
                    Error::Denied("you may not read all that this statement read; ask as who may".into())
                }
                error => error,
            })?;
        let changed = terms.tables.iter().find(|(table, key)| now.tables.get(*table) != Some(key));
        let changed = changed.map(|(table, _)| table.as_str());
        match changed.or((now.lists != terms.lists).then_some("sys")) {
            None => Ok(()),
            Some(table) => Err(Error::Denied(format!(
                "the policies on [{table}] have changed since this statement ran; run it again"
            ))),
        }
    }

    /// Refuses a leaf that would not be let in as it is by the rules here and now.
    pub(crate) fn recheck(&self, leaf: &Leaf) -> Result<()> {
        self.still(&leaf.who, &leaf.sight)
    }

    /// Refuses if a principal may see something else now than it could.
    pub(crate) fn still(&self, who: &Principal, sight: &Sight) -> Result<()> {
        let tables: Vec<&str> = sight.tables.keys().map(String::as_str).collect();
        match self.sight(&tables, who) {
            Ok(now) if now == *sight => Ok(()),
            _ => Err(Error::Denied("what you may see has changed while the query was on its way; ask again".into())),
        }
    }
}

impl Terms {
    /// The datasources that are read.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }
}

impl Sight {
    /// What is seen of a table.
    pub fn of(&self, table: &str) -> Result<&Restriction> {
        self.tables
            .get(table)
            .ok_or_else(|| Error::Bug(format!("the query was let in without a look at its table [{table}]")))
    }

    /// The key of each table's restriction.
    pub fn keys(&self) -> BTreeMap<String, String> {
        self.tables.iter().map(|(table, restriction)| (table.clone(), restriction.key().to_string())).collect()
    }

    /// Whether times of one of these tables are seen rounded.
    pub fn rounds(&self, tables: &[&str]) -> Result<bool> {
        for table in tables {
            if let Restriction::Restricted(restricted) = self.of(table)?
                && restricted.rounding()?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether less than all is seen of one of the tables.
    pub fn is_restricted(&self) -> bool {
        self.tables.values().any(|restriction| *restriction != Restriction::Unrestricted)
    }
}

impl Leaf {
    pub fn query(&self) -> &Arc<Query> {
        &self.query
    }

    pub fn who(&self) -> &Principal {
        &self.who
    }

    pub fn sight(&self) -> &Arc<Sight> {
        &self.sight
    }
}
