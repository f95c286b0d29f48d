//! Random events, split into realtime, spilled and published segments, rolled up or not, and random native queries:
//! every answer must equal that of a naive evaluator over the events, which shares no code with the engine.
//!
//! `HENGE_ORACLE_CASES` says how many cases are tried (500 if not set), `HENGE_ORACLE_SEED` where they begin. A failure
//! names the seed of its case.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use query::cache::{Caches, Of};
use query::{Authorizer, Broker, Error, Principal, Query, Settings};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use segment::lookup::{Lookup, Lookups};
use serde_json::Value as Json;

use crate::broker::{ask_as as send, ask_query, settings};
use crate::cluster;
use crate::kept;
use ask::Asked;
use events::{Event, World};

mod answer;
mod arithmetic;
mod ask;
mod bucket;
mod compare;
mod dimension;
mod distinct;
mod events;
mod extract;
mod extracted;
mod filter;
mod fold;
mod having;
mod number;
mod order;
mod pick;
mod policy;
mod quantile;
mod registry;
mod sets;
mod tuple;

/// 2026-03-28, the day before Berlin's clocks go forward.
const BASE: i64 = 1_774_656_000_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const DAYS: i64 = 3;
/// Queries asked of each set of events.
const QUERIES: usize = 10;

#[test]
fn answers_equal_the_naive_evaluator() {
    each_case(|_, world| (Authorizer::open(), Principal::new("test"), world.events.clone(), Vec::new()));
}

/// Under random roles, policies and column rules every answer must equal that of the naive evaluator over the events that
/// the asker may see, with the values that it may see.
#[test]
fn answers_under_policies_equal_those_over_what_is_seen() {
    each_case(|rng, world| {
        let granted = policy::Granted::random(rng, world);
        (granted.authorizer(), granted.who.clone(), granted.seen(&world.events), granted.unruled())
    });
}

const FAULTY: &str = "spread over faulty nodes";

/// Whether an answer could not be had because of a node.
fn is_fault(error: &Error) -> bool {
    matches!(error, Error::Unavailable(_) | Error::Timeout(_))
}

/// A query of which all that nodes are asked is as they read it.
fn with_parts(query: Query, read: Query) -> Query {
    match (query, read) {
        (Query::Timeseries(q), Query::Timeseries(of)) => Query::Timeseries(query::language::Timeseries {
            scope: of.scope,
            granularity: of.granularity,
            aggregates: of.aggregates,
            ..q
        }),
        (Query::TopN(q), Query::TopN(of)) => Query::TopN(query::language::TopN {
            scope: of.scope,
            granularity: of.granularity,
            dimension: of.dimension,
            aggregates: of.aggregates,
            ..q
        }),
        (Query::GroupBy(q), Query::GroupBy(of)) => Query::GroupBy(query::language::GroupBy {
            scope: of.scope,
            granularity: of.granularity,
            dimensions: of.dimensions,
            aggregates: of.aggregates,
            explode: of.explode,
            ..q
        }),
        (Query::Scan(q), Query::Scan(of)) => {
            Query::Scan(query::language::Scan { limit: q.limit, offset: q.offset, ..of })
        }
        (Query::Search(q), Query::Search(of)) => {
            Query::Search(query::language::Search { order: q.order, limit: q.limit, ..of })
        }
        (_, read) => read,
    }
}

/// Tries cases: a world, someone who asks under rules, the events as that one sees them, and parts of queries that are not
/// asked.
fn each_case(
    mut granted: impl FnMut(&mut SmallRng, &World) -> (Arc<Authorizer>, Principal, Vec<Event>, Vec<&'static str>),
) {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let cases: u64 = number("HENGE_ORACLE_CASES", 500);
    let first: u64 = number("HENGE_ORACLE_SEED", 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let lookups = Lookups::default();
    let entries = extract::ENTRIES.map(|(key, value)| (key.to_string(), value.to_string()));
    lookups.replace([(extract::LOOKUP.to_string(), Arc::new(Lookup::new("v1".into(), entries)))].into());
    // Of the cluster whose nodes fail: answers, and errors in place of them.
    let (mut answered, mut failed) = (0, 0);
    // What is made of segments is kept from case to case, whoever asks: other segments of the same names, under other rules.
    let ever = Caches::new(kept::all(), None);
    let ever_of_nodes = Caches::new(query::cache::Settings { results_bytes_max: 0, ..kept::all() }, None);
    for seed in first..first + cases.div_ceil(QUERIES as u64) {
        let mut rng = SmallRng::seed_from_u64(seed);
        let world = World::random(&mut rng);
        let home = folder.path().join(seed.to_string());
        std::fs::create_dir(&home).expect("a folder");
        let settings = Settings { subquery_rows_max: 1_000_000, ..settings() };
        let inventory = world.serve(&mut rng, &home);
        let (authorizer, who, seen, aside) = granted(&mut rng, &world);
        let make = |policy_cache_bytes| {
            let settings = Settings { policy_cache_bytes, ..settings.clone() };
            Broker::new(inventory.clone(), settings, authorizer.clone())
        };
        let uncached = make(0);
        // Apart from the dice of the case, which a seed names.
        let mut dice = SmallRng::seed_from_u64(seed);
        let (view, spread) =
            cluster::spread(&inventory, &["events"], &mut dice, &settings, &authorizer, &lookups.all());
        // Where a node that never answers is the only one that has a segment.
        let hurried = Settings { timeout_default: Duration::from_millis(500), ..settings.clone() };
        let (faulty_view, faulty) =
            cluster::spread(&inventory, &["events"], &mut dice, &hurried, &authorizer, &lookups.all());
        let keeping = Broker::new(inventory.clone(), settings.clone(), authorizer.clone());
        keeping.keep_in(ever.clone());
        // Whole answers are kept by a broker for the names of segments, which are given once.
        let of_case = Caches::new(query::cache::Settings { segments_bytes_max: 0, ..kept::all() }, None);
        let kept_by = |node: &str| Some(if node.is_empty() { of_case.clone() } else { ever_of_nodes.clone() });
        let (keeping_view, spread_keeping) = cluster::spread_keeping(
            &inventory,
            &["events"],
            &mut dice,
            &settings,
            &authorizer,
            &lookups.all(),
            kept_by,
        );
        let (faulty_keeping_view, faulty_keeping) =
            cluster::spread_keeping(&inventory, &["events"], &mut dice, &hurried, &authorizer, &lookups.all(), kept_by);
        faulty_keeping_view.nodes.values().for_each(|node| node.faulty.store(20, Ordering::Relaxed));
        faulty_view.nodes.values().for_each(|node| node.faulty.store(20, Ordering::Relaxed));
        // Where little is kept, queries of all kinds find some of it cold and some warm.
        let budget = *[1 << 10, 1 << 14, 1 << 20].choose(&mut rng).expect("there are budgets");
        let mut cached = make(budget);
        for n in 0..QUERIES {
            if rng.random_bool(0.3) {
                cached = make(budget);
            }
            let asked = Asked::random(&mut rng, world.rollup);
            let json = asked.json();
            if aside.iter().any(|part| json.to_string().contains(part)) {
                continue;
            }
            let naive = asked.settle(asked.naive(&seen), &seen);
            // Without what is kept, with it, and with what this very query left there.
            // Then over a cluster, and one whose nodes fail: who gets an answer gets the same.
            let brokers = [
                ("nothing", &uncached),
                ("some", &cached),
                ("all", &cached),
                ("spread", &spread),
                (FAULTY, &faulty),
                ("answers", &keeping),
                ("answers again", &keeping),
                (FAULTY, &faulty_keeping),
                ("answers spread", &spread_keeping),
                ("answers spread again", &spread_keeping),
            ];
            for (kept, broker) in brokers {
                let body = lookups.scope(|| runtime.block_on(send(broker, &who, &json)));
                let body = match body {
                    Err(error) if kept == FAULTY && is_fault(&error) => {
                        failed += 1;
                        continue;
                    }
                    Err(error) if asked.refuses() && asked.is_crowded(&seen) => {
                        assert!(error.to_string().contains("a single row"), "seed {seed}.{n}: {json}: {error}");
                        continue;
                    }
                    body => body.unwrap_or_else(|error| panic!("seed {seed}.{n}: {json}: {error}")),
                };
                answered += u64::from(kept == FAULTY);
                let answer: Json = serde_json::from_str(&body).expect("valid JSON");
                let (answer, mut expected) = (asked.settle(answer, &seen), naive.clone());
                asked.settle_top_n_start(&seen, &answer, &mut expected);
                if !compare::alike(&answer, &expected) {
                    let rules = authorizer.restriction(&who, "events");
                    assert_eq!(
                        answer, expected,
                        "HENGE_ORACLE_SEED={seed} query {n}, {kept} kept: {json} under {rules:?}"
                    );
                }
            }
            assert!(cached.policy_cache_bytes() as u64 <= budget);
            // What nodes are asked is what was meant.
            let query = lookups.scope(|| Query::from_json(&json)).expect("it was just asked");
            if query.scope().source.is_stored() && !asked.refuses() {
                let part = query.for_nodes().to_json();
                let read = lookups.scope(|| Query::from_json(&part)).expect("a node reads what is asked");
                let body = runtime.block_on(ask_query(&uncached, &who, &with_parts(query, read))).expect("an answer");
                let answer = asked.settle(serde_json::from_str(&body).expect("valid JSON"), &seen);
                let mut expected = naive.clone();
                asked.settle_top_n_start(&seen, &answer, &mut expected);
                if !compare::alike(&answer, &expected) {
                    assert_eq!(answer, expected, "HENGE_ORACLE_SEED={seed} query {n}, as nodes read it: {part}");
                }
            }
        }
        drop((view, spread, faulty_view, faulty));
        drop((keeping_view, spread_keeping, faulty_keeping_view, faulty_keeping));
        drop((uncached, cached, inventory));
        std::fs::remove_dir_all(&home).expect("the folder goes");
    }
    assert!(ever.counts(Of::Segments).hits() > 0 && ever.counts(Of::Results).hits() > 0);
    println!("over faulty nodes [{answered}] queries were answered and [{failed}] failed");
}
