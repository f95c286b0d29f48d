//! Retention rules: for how long the segments of a datasource are in use, and on how many nodes of which tiers each is
//! loaded. The shapes and meanings are Druid's.
//!
//! A datasource's rules are a document of the catalog, an array; those under [`DEFAULT`] hold for every datasource after its
//! own. They are read from the top, and the first that matches a segment's interval decides. A segment that none matches
//! stays in use and is loaded nowhere.
//!
//! What is posted is checked whole before it is kept, and errors name the rule, the field and the fix. `loadPartial…` rules
//! are refused: this store loads whole segments.
//!
//! The store's own datasources have no rules. They are loaded as [`DEFAULT`] says, and as it says while nobody sets it where
//! no rule there loads them: no rule drops them or leaves them out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use segment::time::{Span, Zone};
use segment::{Interval, is_system};
use serde_json::{Map, Value, json};

use crate::Coordinator;
use crate::documents::{Change, Document};
use crate::error::{Error, Result};
use crate::supervisors::refuse_system;

/// Under this name stand the rules of the cluster.
pub const DEFAULT: &str = "_default";

/// The tier of a node that names none, and of a rule that names none.
pub const DEFAULT_TIER: &str = "_default_tier";

const REPLICAS_DEFAULT: u32 = 2;

/// The kind of the documents that hold rules.
pub(crate) const KIND: &str = "rules";

/// Rules of one datasource: each segment is held against them until one matches.
const RULES_MAX: usize = 1_000;

/// Copies of a segment in one tier: more than any tier has nodes is no fault, more than any could have is.
const REPLICAS_MAX: u64 = 1_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub effect: Effect,
    pub scope: Scope,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// So many copies by tier; none at all is a rule too.
    Load(Vec<(String, u32)>),
    /// On every node that loads segments.
    Broadcast,
    /// Out of use.
    Drop,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scope {
    Forever,
    Interval(Interval),
    /// The time from so long ago until now; with `future`, until for ever.
    Period {
        span: Span,
        future: bool,
    },
    /// What ended so long ago, or longer.
    Before(Span),
}

impl Rule {
    pub fn matches(&self, interval: Interval, now: i64) -> bool {
        let within = |outer: Interval| outer.start <= interval.start && interval.end <= outer.end;
        let is_drop = self.effect == Effect::Drop;
        match &self.scope {
            Scope::Forever => true,
            Scope::Interval(of) if is_drop => within(*of),
            Scope::Interval(of) => of.overlaps(&interval),
            Scope::Period { span, future } => {
                let since = ago(span, now);
                let of = Interval { start: since, end: now };
                match (is_drop, future) {
                    (true, true) => interval.start >= since,
                    (true, false) => within(of),
                    (false, true) => interval.end > since,
                    (false, false) => of.overlaps(&interval),
                }
            }
            Scope::Before(span) => interval.end <= ago(span, now),
        }
    }

    /// The instants by which it tells intervals apart that move with the time.
    fn edges(&self, now: i64) -> [Option<i64>; 2] {
        match &self.scope {
            Scope::Forever | Scope::Interval(_) => [None, None],
            Scope::Period { span, future } => [Some(ago(span, now)), (!future).then_some(now)],
            Scope::Before(span) => [Some(ago(span, now)), None],
        }
    }

    /// `at` is where it stands among the others, for errors.
    fn parse(value: &Value, at: usize) -> Result<Rule> {
        let Some(object) = value.as_object() else {
            return Err(invalid(format!(
                "rules[{at}] is {value}, not an object: write for example {{\"type\":\"loadForever\",\"tieredReplicants\":{{\"{DEFAULT_TIER}\":2}}}}"
            )));
        };
        let fields = Fields { object, at };
        let kind = fields.text("type", "one of loadForever, loadByInterval, loadByPeriod, dropForever and the like")?;
        let (load, broadcast) = (&["tieredReplicants", "useDefaultTierForNull"][..], &[][..]);
        let (effect, own) = match kind {
            _ if kind.starts_with("loadPartial") => {
                return Err(invalid(format!(
                    "rules[{at}].type is {kind}, which is not supported: segments are loaded whole; use {}",
                    kind.replace("loadPartial", "load")
                )));
            }
            _ if kind.starts_with("load") => (Effect::Load(fields.replicas()?), load),
            _ if kind.starts_with("broadcast") => (Effect::Broadcast, broadcast),
            _ => (Effect::Drop, broadcast),
        };
        let (scope, more) = match kind {
            "loadForever" | "dropForever" | "broadcastForever" => (Scope::Forever, &[][..]),
            "loadByInterval" | "dropByInterval" | "broadcastByInterval" => {
                (Scope::Interval(fields.interval()?), &["interval"][..])
            }
            "loadByPeriod" | "dropByPeriod" | "broadcastByPeriod" => {
                let future = fields.flag("includeFuture", true)?;
                (Scope::Period { span: fields.period()?, future }, &["period", "includeFuture"][..])
            }
            "dropBeforeByPeriod" => (Scope::Before(fields.period()?), &["period"][..]),
            _ => {
                return Err(invalid(format!(
                    "rules[{at}].type is {kind}: use loadForever, loadByInterval, loadByPeriod, dropForever, dropByInterval, \
                     dropByPeriod, dropBeforeByPeriod, broadcastForever, broadcastByInterval or broadcastByPeriod"
                )));
            }
        };
        let is_known = |key: &str| key == "type" || own.contains(&key) || more.contains(&key);
        if let Some(key) = object.keys().find(|key| !is_known(key)) {
            let known: Vec<&str> = ["type"].iter().chain(own).chain(more).copied().collect();
            return Err(invalid(format!("rules[{at}].{key} is not a field of {kind}: it takes {}", known.join(", "))));
        }
        Ok(Rule { effect, scope })
    }
}

/// So long before an instant, in UTC.
fn ago(span: &Span, now: i64) -> i64 {
    span.add(now, -1, &Zone::Utc)
}

fn invalid(text: String) -> Error {
    Error::Invalid(text)
}

/// Reads an array of rules.
pub(crate) fn parse(rules: &Value) -> Result<Vec<Rule>> {
    let Some(rules) = rules.as_array() else {
        return Err(invalid("rules must be an array of rules; [] leaves it to the cluster's default".to_string()));
    };
    if rules.len() > RULES_MAX {
        return Err(invalid(format!("there are {} rules: a datasource has {RULES_MAX} at most", rules.len())));
    }
    rules.iter().enumerate().map(|(at, rule)| Rule::parse(rule, at)).collect()
}

struct Fields<'a> {
    object: &'a Map<String, Value>,
    at: usize,
}

impl Fields<'_> {
    /// One that is null is as one that is not there.
    fn get(&self, key: &str) -> Option<&Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn wrong(&self, key: &str, fix: &str) -> Error {
        let at = self.at;
        invalid(match self.get(key) {
            None => format!("rules[{at}].{key} is missing: give {fix}"),
            Some(value) => format!("rules[{at}].{key} is {value}: give {fix}"),
        })
    }

    fn text(&self, key: &str, fix: &str) -> Result<&str> {
        self.get(key).and_then(Value::as_str).ok_or_else(|| self.wrong(key, fix))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.wrong(key, "true or false")),
        }
    }

    fn interval(&self) -> Result<Interval> {
        let fix = "an interval such as 2024-01-01/2025-01-01";
        let interval = Interval::parse(self.text("interval", fix)?).ok().filter(|interval| !interval.is_empty());
        interval.ok_or_else(|| self.wrong("interval", fix))
    }

    fn period(&self) -> Result<Span> {
        let fix = "an ISO 8601 period such as P30D or P1M, longer than nothing";
        let span = Span::parse(self.text("period", fix)?).ok();
        // A period that does not go back from every instant would match no past.
        span.filter(|span| span.millis_about() > 0 && ago(span, 0) < 0).ok_or_else(|| self.wrong("period", fix))
    }

    fn replicas(&self) -> Result<Vec<(String, u32)>> {
        let key = "tieredReplicants";
        let fix = "an object of tiers and numbers of copies such as {\"_default_tier\":2}";
        let use_default = self.flag("useDefaultTierForNull", true)?;
        let Some(value) = self.get(key) else {
            let default = (DEFAULT_TIER.to_string(), REPLICAS_DEFAULT);
            return Ok(if use_default { vec![default] } else { Vec::new() });
        };
        let object = value.as_object().ok_or_else(|| self.wrong(key, fix))?;
        let mut replicas = Vec::with_capacity(object.len());
        for (tier, copies) in object {
            let whole = copies.as_u64().filter(|copies| *copies <= REPLICAS_MAX && !tier.is_empty());
            let copies = whole.ok_or_else(|| {
                let at = self.at;
                invalid(format!(
                    "rules[{at}].{key} has {copies} for the tier [{tier}]: give a name and a whole number from 0 to {REPLICAS_MAX}"
                ))
            })?;
            replicas.push((tier.clone(), copies as u32));
        }
        Ok(replicas)
    }
}

/// What the rules say of a segment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Copies by number of tier; none of them is 0.
    Load(Arc<[(u16, u32)]>),
    Broadcast,
    Drop,
    /// No rule matches.
    Nothing,
}

impl Verdict {
    /// Whether there is to be any copy.
    fn loads(&self) -> bool {
        match self {
            Verdict::Load(copies) => !copies.is_empty(),
            Verdict::Broadcast => true,
            Verdict::Drop | Verdict::Nothing => false,
        }
    }
}

/// All rules as they are in force, ready to be asked for every segment there is.
#[derive(Default)]
pub(crate) struct Book {
    default: Arc<Lines>,
    /// The rules of [`DEFAULT`] while nobody sets any.
    built_in: Arc<Lines>,
    own: HashMap<String, Arc<Lines>>,
    /// The version of each document of rules that was read.
    read: BTreeMap<String, i64>,
}

#[derive(Default)]
struct Lines(Vec<(Rule, Verdict)>);

impl Book {
    /// Takes in the documents of rules that changed; whose these are. Tiers are given numbers by `tier`.
    pub fn refresh(
        &mut self,
        documents: Option<&BTreeMap<String, Arc<Document>>>,
        mut tier: impl FnMut(&str) -> u16,
    ) -> Vec<String> {
        let none = BTreeMap::new();
        let documents = documents.unwrap_or(&none);
        let mut changed: Vec<String> =
            self.read.keys().filter(|name| !documents.contains_key(*name)).cloned().collect();
        for name in &changed {
            self.own.remove(name);
            self.read.remove(name);
        }
        for (name, document) in documents {
            if self.read.insert(name.clone(), document.version) != Some(document.version) {
                self.own.insert(name.clone(), lines(name, &document.value, &mut tier));
                changed.push(name.clone());
            }
        }
        let is_first = self.default.0.is_empty();
        if is_first {
            self.built_in = lines(DEFAULT, &default_rules(), &mut tier);
        }
        if is_first || changed.iter().any(|name| name == DEFAULT) {
            self.default = self.own.get(DEFAULT).unwrap_or(&self.built_in).clone();
            if is_first {
                changed.push(DEFAULT.to_string());
            }
        }
        changed
    }

    /// Those that are asked, in their order. Of the store's own, only what has it loaded somewhere.
    fn lines<'a>(&'a self, datasource: &str) -> impl Iterator<Item = &'a (Rule, Verdict)> {
        let is_system = is_system(datasource);
        let own = self.own.get(datasource).filter(|_| !is_system);
        let last = is_system.then_some(&self.built_in);
        let lines = own.into_iter().chain([&self.default]).chain(last).flat_map(|lines| &lines.0);
        lines.filter(move |(_, verdict)| !is_system || verdict.loads())
    }

    /// What the first rule says that matches.
    pub fn verdict(&self, datasource: &str, interval: Interval, now: i64) -> Verdict {
        let found = self.lines(datasource).find(|(rule, _)| rule.matches(interval, now));
        found.map_or(Verdict::Nothing, |(_, verdict)| verdict.clone())
    }

    /// Parts of time to which intervals must reach for another rule to match them than before.
    pub fn moved(&self, datasource: &str, before: i64, now: i64) -> Vec<Interval> {
        let mut moved = Vec::new();
        for (rule, _) in self.lines(datasource) {
            for (was, is) in rule.edges(before).into_iter().zip(rule.edges(now)) {
                if let (Some(was), Some(is)) = (was, is) {
                    // Of calendar months, the edge can go back as time goes on. Its both sides are looked at.
                    let (from, to) = (was.min(is), was.max(is));
                    moved.push(Interval { start: from.saturating_sub(1), end: to.saturating_add(1) });
                }
            }
        }
        Interval::merge(&moved)
    }
}

/// Rules of a document that cannot be read (another version wrote it) must not drop anything: the default holds.
fn lines(name: &str, value: &Value, tier: &mut impl FnMut(&str) -> u16) -> Arc<Lines> {
    let rules = parse(value).or_else(|error| {
        tracing::error!(datasource = name, %error, "the rules on record cannot be read; everything is loaded and kept");
        parse(&default_rules())
    });
    let verdict = |rule: &Rule, tier: &mut dyn FnMut(&str) -> u16| match &rule.effect {
        Effect::Load(replicas) => {
            Verdict::Load(replicas.iter().filter(|(_, copies)| *copies > 0).map(|(name, n)| (tier(name), *n)).collect())
        }
        Effect::Broadcast => Verdict::Broadcast,
        Effect::Drop => Verdict::Drop,
    };
    let rules = rules.unwrap_or_default();
    Arc::new(Lines(rules.into_iter().map(|rule| (rule.clone(), verdict(&rule, tier))).collect()))
}

fn default_rules() -> Value {
    json!([{"type": "loadForever", "tieredReplicants": {DEFAULT_TIER: REPLICAS_DEFAULT}}])
}

impl Coordinator {
    /// All rules, by datasource, as they were posted. Those of [`DEFAULT`] are there also if nobody posted any.
    pub fn rules(&self) -> BTreeMap<String, Value> {
        let mut rules = BTreeMap::from([(DEFAULT.to_string(), default_rules())]);
        rules.extend(self.documents(KIND).into_iter().map(|document| (document.name.clone(), document.value.clone())));
        rules
    }

    /// A datasource's own rules, without those of the cluster; `[]` if it has none.
    pub fn rules_of(&self, datasource: &str) -> Value {
        let found = self.document(KIND, datasource).map(|document| document.value.clone());
        found.unwrap_or_else(|| if datasource == DEFAULT { default_rules() } else { json!([]) })
    }

    /// Puts rules in the place of a datasource's own, or of the cluster's. The next cycle goes by them.
    pub async fn set_rules(&self, datasource: &str, rules: Value, by: &str, now: i64) -> Result<()> {
        refuse_system(datasource)?;
        if datasource.is_empty() {
            return Err(invalid(format!("rules are for a datasource, or for {DEFAULT}: name one")));
        }
        if parse(&rules)?.is_empty() && datasource == DEFAULT {
            return Err(invalid(format!("the rules of {DEFAULT} must not be []: nothing would be loaded any more")));
        }
        let change =
            Change { kind: KIND, name: datasource.to_string(), value: Some(rules), expected: None, history: true };
        self.change_documents(vec![change], by, now).await?;
        self.wake();
        Ok(())
    }

    /// What a datasource's rules were, newest first; without one, what those of all were.
    pub async fn rules_history(&self, datasource: Option<&str>, most: usize) -> Result<Vec<Document>> {
        match datasource {
            Some(datasource) => self.document_history(KIND, datasource, most).await,
            None => self.kind_history(KIND, most).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use segment::time::parse_timestamp;

    use super::*;

    fn refused(rules: Value) -> String {
        parse(&rules).unwrap_err().to_string()
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place_and_the_fix() {
        let load = |more: Value| {
            let mut rule = json!({"type": "loadByPeriod", "period": "P1M"});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([{"type": "dropForever"}, rule])
        };
        for (rules, told) in [
            (json!({}), "array"),
            (json!([1]), "rules[0] is 1"),
            (json!([{}]), "rules[0].type is missing"),
            (json!([{"type": "loadForEver"}]), "rules[0].type is loadForEver"),
            (json!([{"type": "loadPartialByPeriod"}]), "use loadByPeriod"),
            (load(json!({"period": "month"})), "rules[1].period is \"month\""),
            (load(json!({"period": "P0D"})), "rules[1].period is \"P0D\""),
            (load(json!({"period": "-P1D"})), "rules[1].period is \"-P1D\""),
            (load(json!({"period": null})), "rules[1].period is missing"),
            (load(json!({"perod": "P1D"})), "rules[1].perod is not a field"),
            (load(json!({"includeFuture": "no"})), "rules[1].includeFuture is \"no\""),
            (load(json!({"tieredReplicants": 2})), "rules[1].tieredReplicants is 2"),
            (load(json!({"tieredReplicants": {"hot": -1}})), "-1 for the tier [hot]"),
            (load(json!({"tieredReplicants": {"hot": 1.5}})), "1.5 for the tier [hot]"),
            (json!([{"type": "dropByInterval", "interval": "2024"}]), "rules[0].interval is \"2024\""),
            (json!([{"type": "dropByInterval", "interval": "2024-01-01/2024-01-01"}]), "rules[0].interval"),
        ] {
            let error = refused(rules.clone());
            assert!(error.contains(told), "{rules}: {error}");
        }
    }

    #[test]
    fn copies_not_given_are_two_in_the_default_tier() {
        let copies = |rule: Value| match parse(&json!([rule])).unwrap().remove(0).effect {
            Effect::Load(replicas) => replicas,
            other => panic!("{other:?}"),
        };
        let default = vec![(DEFAULT_TIER.to_string(), 2)];
        assert_eq!(copies(json!({"type": "loadForever"})), default);
        assert_eq!(copies(json!({"type": "loadForever", "tieredReplicants": null})), default);
        assert_eq!(copies(json!({"type": "loadForever", "useDefaultTierForNull": false})), vec![]);
        assert_eq!(copies(json!({"type": "loadForever", "tieredReplicants": {}})), vec![]);
    }

    #[test]
    fn a_month_is_a_month_of_the_calendar() {
        let at = |text: &str| parse_timestamp(text).unwrap();
        let rules = parse(&json!([{"type": "dropBeforeByPeriod", "period": "P1M"}])).unwrap();
        let february = Interval { start: at("2024-02-01"), end: at("2024-03-01") };
        assert!(!rules[0].matches(february, at("2024-04-01") - 1));
        assert!(rules[0].matches(february, at("2024-04-01")));
    }

    /// The audit log stays loaded whatever is said of all datasources; others are dropped, or left out, by the same rules.
    #[test]
    fn no_rule_drops_or_leaves_out_what_is_the_stores_own() {
        let day = Interval { start: 0, end: 24 * HOUR };
        let load = |copies: Value| json!({"type": "loadForever", "tieredReplicants": copies});
        let late =
            json!({"type": "loadByInterval", "interval": "2024-01-01/2025-01-01", "tieredReplicants": {"hot": 3}});
        for (rules, own, others) in [
            (json!([{"type": "dropForever"}]), 0, Verdict::Drop),
            (json!([late.clone()]), 0, Verdict::Nothing),
            (json!([load(json!({}))]), 0, Verdict::Load([].into())),
            (json!([load(json!({"hot": 0}))]), 0, Verdict::Load([].into())),
            (json!([{"type": "dropForever"}, load(json!({"hot": 2}))]), 1, Verdict::Drop),
            (json!([load(json!({"hot": 2}))]), 1, Verdict::Load([(1, 2)].into())),
        ] {
            let mut book = Book::default();
            let document = Document {
                kind: KIND.into(),
                name: DEFAULT.into(),
                value: rules.clone(),
                version: 1,
                changed_at: 0,
                changed_by: String::new(),
            };
            let documents = BTreeMap::from([(DEFAULT.to_string(), Arc::new(document))]);
            book.refresh(Some(&documents), |name| u16::from(name != DEFAULT_TIER));
            assert_eq!(book.verdict("sys.audit", day, 0), Verdict::Load([(own, 2)].into()), "{rules}");
            assert_eq!(book.verdict("events", day, 0), others, "{rules}");
        }
    }

    /// The rules once more, written as the reference tells them, over whole hours.
    fn oracle(kind: &str, of: (i64, i64), future: bool, segment: (i64, i64), now: i64) -> bool {
        let hours = segment.0..segment.1;
        let touches = |from: i64, to: i64| hours.clone().any(|hour| from <= hour && hour < to);
        let inside = |from: i64, to: i64| hours.clone().all(|hour| from <= hour && hour < to);
        let since = now - of.1;
        match kind {
            "loadForever" | "dropForever" | "broadcastForever" => true,
            "loadByInterval" | "broadcastByInterval" => touches(of.0, of.0 + of.1),
            "dropByInterval" => inside(of.0, of.0 + of.1),
            "loadByPeriod" | "broadcastByPeriod" => touches(since, if future { 1_000 } else { now }),
            "dropByPeriod" => inside(since, if future { 1_000 } else { now }),
            "dropBeforeByPeriod" => inside(-1_000, since),
            other => panic!("{other}"),
        }
    }

    const KINDS: [&str; 10] = [
        "loadForever",
        "loadByInterval",
        "loadByPeriod",
        "dropForever",
        "dropByInterval",
        "dropByPeriod",
        "dropBeforeByPeriod",
        "broadcastForever",
        "broadcastByInterval",
        "broadcastByPeriod",
    ];
    const HOUR: i64 = 3_600_000;

    type Written = (usize, (i64, i64), bool);

    fn written((kind, (start, length), future): Written) -> Value {
        let kind = KINDS[kind];
        let mut rule = json!({"type": kind});
        if kind.ends_with("Interval") {
            let of = Interval { start: start * HOUR, end: (start + length) * HOUR };
            rule["interval"] = of.to_string().into();
        } else if kind.ends_with("Period") {
            rule["period"] = format!("PT{length}H").into();
            if kind != "dropBeforeByPeriod" {
                rule["includeFuture"] = future.into();
            }
        }
        rule
    }

    fn any_rules() -> impl Strategy<Value = Vec<Written>> {
        prop::collection::vec((0..KINDS.len(), (0i64..40, 1i64..30), any::<bool>()), 0..5)
    }

    proptest! {
        #[test]
        fn the_first_rule_that_matches_is_the_oracles(
            rules in any_rules(), start in 0i64..60, length in 1i64..12, now in 0i64..60,
        ) {
            let parsed = parse(&rules.iter().copied().map(written).collect()).unwrap();
            let interval = Interval { start: start * HOUR, end: (start + length) * HOUR };
            let found = parsed.iter().position(|rule| rule.matches(interval, now * HOUR));
            let expected = rules.iter().position(|(kind, of, future)| {
                oracle(KINDS[*kind], *of, *future, (start, start + length), now)
            });
            prop_assert_eq!(found, expected);
        }

        /// Time goes on: what does not reach to where an edge moved is judged as before.
        #[test]
        fn nothing_changes_away_from_the_edges(
            rules in any_rules(), start in 0i64..60, length in 1i64..12, before in 0i64..60, later in 0i64..30,
        ) {
            let mut book = Book::default();
            let value: Value = rules.iter().copied().map(written).collect();
            let document = Document {
                kind: KIND.into(), name: "d".into(), value, version: 1, changed_at: 0, changed_by: String::new(),
            };
            book.refresh(Some(&BTreeMap::from([("d".to_string(), Arc::new(document))])), |_| 0);
            let interval = Interval { start: start * HOUR, end: (start + length) * HOUR };
            let (before, now) = (before * HOUR, (before + later) * HOUR);
            let moved = book.moved("d", before, now);
            if !moved.iter().any(|part| part.overlaps(&interval)) {
                prop_assert_eq!(book.verdict("d", interval, before), book.verdict("d", interval, now));
            }
        }
    }
}
