//! Ten processes under load, and a seeded schedule of faults. Whatever a broker answers without an error is right, at every
//! moment; when the faults are over, everything is there once.
//!
//! The schedule goes by `HENGE_SEED` alone, in three lanes that do not share what they break: coordinators and ingest nodes,
//! brokers and historicals, wires. `HENGE_TEST_CHAOS_SECONDS` is for how long, `HENGE_TEST_CHAOS_SEEDS` for how many seeds.
//! With a binary of the version before in `HENGE_TEST_PREVIOUS`, nodes of either version are at work together.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cluster::{BROKERS, Cluster, NODES, PARTITIONS, Sent, Watched, feed, settle};
use crate::harness::{StopOnDrop, amount, create_topic, free_port, kafka, shared};
use crate::machine::Machines;
use crate::wires::{self, Refusal, Wires};

/// What the first two lanes break.
const LANES: [&[usize]; 2] = [&[0, 1, 7, 8, 9], &[2, 3, 4, 5, 6]];

/// Small numbers in an order that the seed gives.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn within(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    /// Seconds that a clock is off, before or behind; one in four is right.
    fn minutes(&mut self) -> i64 {
        let (off, way) = (60 + self.below(241) as i64, self.below(4));
        [0, off, -off, off][way as usize]
    }
}

/// Ten processes at a time.
static TURN: Mutex<()> = Mutex::new(());

/// A kind of fault, and what it was.
type Fault = (&'static str, String);

/// What all answers came to, the shortest first: of long output the beginning is kept everywhere.
fn told(watched: &Watched, faults: &[Fault]) -> String {
    let wrong = watched.wrong.lock().unwrap();
    let faults: Vec<&str> = faults.iter().map(|(_, what)| what.as_str()).collect();
    format!(
        "{} wrong answers\n{}\nfaults:\n{}\nerrors: {:#?}\nwhen the first was seen:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n"),
        faults.join("\n"),
        watched.errors.lock().unwrap(),
        watched.logs.lock().unwrap()
    )
}

impl Cluster {
    /// One fault of a lane of nodes, from its beginning to its end; of clocks and versions, until it is another's turn.
    fn break_node(&self, at: usize, machines: &Machines, dice: &mut Dice) -> Fault {
        let name = NODES[at].0;
        match dice.below(8) {
            0 => {
                self.kill(at);
                std::thread::sleep(dice.within(100, 5_000));
                self.start(at);
                ("kill", format!("{name} killed"))
            }
            1 => {
                // For less or more than its lease.
                self.signal(at, "-STOP");
                std::thread::sleep(dice.within(500, 9_000));
                self.signal(at, "-CONT");
                ("stand still", format!("{name} stood still"))
            }
            2 => {
                let left = self.stop(at);
                self.start(at);
                ("stop", format!("{name} stopped and started{}", if left { "" } else { ", not in time" }))
            }
            3 => {
                let off = dice.minutes();
                self.stop(at);
                let environment = machines.set_clock(name, off);
                self.disguise(at, |guise| guise.environment = environment.unwrap_or_default());
                self.start(at);
                ("clock off", format!("{name} started with its clock {off} s off"))
            }
            4 => {
                // Of a process that was started with a clock of its own.
                let off = dice.minutes();
                machines.set_clock(name, off);
                std::thread::sleep(dice.within(500, 5_000));
                ("clock jumps", format!("{name}: its clock, if it has one, jumped to {off} s off"))
            }
            5 => {
                let (is_new, length) = (dice.below(2) == 1, dice.within(1_000, 9_000));
                if is_new {
                    self.kill(at);
                }
                let full = machines.fill(name);
                if is_new || full.is_none() {
                    self.start(at);
                }
                std::thread::sleep(length);
                (
                    "disk full",
                    format!("{name}: its disk was full{}", if is_new { ", and it was started on it" } else { "" }),
                )
            }
            6 => {
                self.stop(at);
                let is_previous = self.disguise(at, |guise| {
                    guise.binary = machines.previous.clone().filter(|_| guise.binary.is_none());
                    guise.binary.is_some()
                });
                self.start(at);
                ("version", format!("{name} started as {} version", if is_previous { "the previous" } else { "this" }))
            }
            _ => {
                // Twice at once: what it had begun to take up is lost too.
                self.kill(at);
                self.start(at);
                std::thread::sleep(dice.within(50, 1_500));
                self.kill(at);
                self.start(at);
                ("kill twice", format!("{name} killed twice"))
            }
        }
    }

    /// One fault of the lane of wires.
    fn break_wires(&self, wires: &Wires, dice: &mut Dice) -> Fault {
        let all = |cut: &dyn Fn(&str)| NODES.iter().for_each(|(name, _)| cut(name));
        match dice.below(13) {
            0..4 => {
                let one = dice.below(NODES.len() as u64) as usize;
                let other = (one + 1 + dice.below(NODES.len() as u64 - 1) as usize) % NODES.len();
                let (one, other) = (NODES[one].0, NODES[other].0);
                wires.cut(one, other);
                std::thread::sleep(dice.within(500, 9_000));
                wires.mend(one, other);
                ("nodes apart", format!("{one} and {other} apart"))
            }
            4 => {
                let one = NODES[dice.below(NODES.len() as u64) as usize].0;
                let what = ["metadata", "deep", "kafka"][dice.below(3) as usize];
                wires.cut(one, what);
                std::thread::sleep(dice.within(500, 9_000));
                wires.mend(one, what);
                ("one without a store", format!("{one} without {what}"))
            }
            5 => {
                all(&|name| wires.cut(name, "metadata"));
                std::thread::sleep(dice.within(500, 5_000));
                all(&|name| wires.mend(name, "metadata"));
                ("metadata gone", "metadata gone".into())
            }
            6 => {
                let what = ["metadata", "deep"][dice.below(2) as usize];
                wires.slow(what, 20 + dice.below(200));
                std::thread::sleep(dice.within(1_000, 6_000));
                wires.slow(what, 0);
                ("store slow", format!("{what} slow"))
            }
            7..10 => {
                wires.echo(true);
                std::thread::sleep(dice.within(2_000, 9_000));
                wires.echo(false);
                ("requests again", "requests between nodes came twice and out of turn".into())
            }
            10 => {
                let how = [Refusal::Closed, Refusal::Busy][dice.below(2) as usize];
                wires.refuse("deep", Some(how));
                std::thread::sleep(dice.within(1_000, 8_000));
                wires.refuse("deep", None);
                ("deep storage refuses", format!("deep storage refuses ({how:?})"))
            }
            11 => {
                // It takes connections and says nothing.
                all(&|name| wires.cut(name, "deep"));
                std::thread::sleep(dice.within(1_000, 8_000));
                all(&|name| wires.mend(name, "deep"));
                ("deep storage silent", "deep storage does not answer".into())
            }
            _ => {
                wires.tear("deep", true);
                std::thread::sleep(dice.within(1_000, 6_000));
                wires.tear("deep", false);
                ("deep storage torn", "deep storage tears answers".into())
            }
        }
    }
}

fn port_of(address: &str) -> u16 {
    let host = address.split("://").last().unwrap().split(['/', '?']).next().unwrap();
    host.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[test]
fn no_answer_is_wrong_whatever_breaks() {
    let Some(bootstrap) = kafka("chaos") else { return };
    let seconds = amount("HENGE_TEST_CHAOS_SECONDS", 120);
    let first = amount("HENGE_SEED", 1);
    for seed in first..first + amount("HENGE_TEST_CHAOS_SEEDS", 1) {
        let Some(settings) = shared(&format!("chaos{seed}")) else { return };
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), &bootstrap, settings, seed, Duration::from_secs(seconds));
    }
}

/// What of the watched cluster went on.
struct Ran {
    faults: Vec<Fault>,
    events: u64,
    watched: Watched,
    echoed: String,
}

fn run(dir: &Path, bootstrap: &str, settings: Vec<(String, String)>, seed: u64, length: Duration) {
    let Ran { faults, events, watched, echoed } = stage(dir, bootstrap, settings, seed, |cluster, begun, note| {
        let machines = cluster.machines.as_ref().expect("a stage has them");
        std::thread::scope(|scope| {
            let lane = |number: u64| Dice((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number + 1) << 32);
            for (number, nodes) in LANES.into_iter().enumerate() {
                let mut dice = lane(number as u64);
                scope.spawn(move || {
                    while begun.elapsed() < length {
                        std::thread::sleep(dice.within(500, 6_000));
                        let at = nodes[dice.below(nodes.len() as u64) as usize];
                        let from = begun.elapsed();
                        note(from, cluster.break_node(at, machines, &mut dice));
                    }
                });
            }
            if let Some(wires) = &cluster.wires {
                let mut dice = lane(2);
                scope.spawn(move || {
                    while begun.elapsed() < length {
                        std::thread::sleep(dice.within(500, 5_000));
                        let from = begun.elapsed();
                        note(from, cluster.break_wires(wires, &mut dice));
                    }
                });
            }
            scope.spawn(move || {
                while begun.elapsed() < length {
                    cluster.revive();
                    std::thread::sleep(Duration::from_millis(300));
                }
            });
        });
    });
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    faults.iter().for_each(|(kind, _)| *kinds.entry(kind).or_default() += 1);
    let errors = watched.errors.into_inner().unwrap();
    let [whole, flagged, refused] =
        [&watched.whole, &watched.flagged, &watched.refused].map(|n| n.load(Ordering::SeqCst));
    let all = (whole + flagged + refused).max(1) as f64;
    println!(
        "chaos: seed {seed}, {} s, {} faults; {events} events exact; {whole} whole answers, {flagged} that said they lack rows, \
         {refused} refused: {:.1} % answered, {:.1} % whole; {:.1} s at most between whole answers\nfaults by kind: {kinds:?}; {echoed}\n{errors:#?}",
        length.as_secs(),
        faults.len(),
        (whole + flagged) as f64 / all * 100.0,
        whole as f64 / all * 100.0,
        watched.gap_max.load(Ordering::SeqCst) as f64 / 1000.0
    );
}

/// Whatever a broker knew when it lost sight of the leader, it gives for an answer only as long as that is how it is.
#[test]
fn a_broker_that_does_not_hear_of_the_leader_gives_no_old_answer() {
    let Some(bootstrap) = kafka("cut off") else { return };
    let Some(settings) = shared("cutoff") else { return };
    if !wires::can_be_had("cut off") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ran = stage(dir.path(), &bootstrap, settings, 901, |cluster, begun, note| {
        let wires = cluster.wires.as_ref().expect("they can be had");
        for round in 0..4 {
            let from = begun.elapsed();
            let broker = NODES[BROKERS[round % BROKERS.len()]].0;
            ["c1", "c2"].iter().for_each(|coordinator| wires.cut(broker, coordinator));
            // What tasks close stays with them meanwhile, beside what they read on.
            wires.refuse("deep", Some(Refusal::Busy));
            std::thread::sleep(Duration::from_secs(8));
            wires.refuse("deep", None);
            ["c1", "c2"].iter().for_each(|coordinator| wires.mend(broker, coordinator));
            note(from, ("cut off", format!("{broker} without the coordinators")));
            std::thread::sleep(Duration::from_secs(2));
        }
    });
    let counts = [&ran.watched.whole, &ran.watched.flagged, &ran.watched.refused];
    let [whole, flagged, refused] = counts.map(|n| n.load(Ordering::SeqCst));
    println!(
        "cut off: {} events exact; {whole} whole answers, {flagged} that said they lack rows, {refused} refused",
        ran.events
    );
    // One that could answer nothing would give no old answer either.
    assert!(whole > 100 && flagged > 20, "{:#?}", ran.watched.errors);
}

/// Ten processes under load and what is done to them, which says when it did what; then all there is once. The number of the run
/// is for what it leaves behind.
fn stage(
    dir: &Path,
    bootstrap: &str,
    settings: Vec<(String, String)>,
    seed: u64,
    work: impl FnOnce(&Cluster, Instant, &(dyn Fn(Duration, Fault) + Sync)),
) -> Ran {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let topic = format!("chaos-{seed}-{}", std::process::id());
    create_topic(bootstrap, &topic, PARTITIONS as i32);
    let ports: Vec<u16> = NODES.iter().map(|_| free_port()).collect();
    let setting = |name: &str| settings.iter().find(|(key, _)| key == name).unwrap().1.clone();
    let servers = [
        ("metadata", port_of(setting("metadata.url").rsplit_once('@').unwrap().1)),
        ("deep", port_of(&setting("storage.s3_endpoint"))),
        ("kafka", port_of(bootstrap)),
    ];
    let named: Vec<(&str, u16)> = NODES.iter().zip(&ports).map(|((name, _), port)| (*name, *port)).collect();
    let wires = wires::can_be_had("chaos").then(|| Wires::new(dir, &named, &servers, seed));
    let machines = Machines::new("chaos", dir, &NODES.map(|(name, _)| name));
    let cluster = Cluster::begin(dir, settings, ports, wires, Some(machines), None, (bootstrap, &topic));

    let (sent, watched) = (Sent::default(), Watched::default());
    let (fed, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let (_fed, _done) = (StopOnDrop(fed.clone()), StopOnDrop(done.clone()));
        let feeding = scope.spawn(|| feed(bootstrap, &topic, &sent, &fed));
        for at in BROKERS {
            let (cluster, watched, sent, done) = (&cluster, &watched, &sent, done.clone());
            scope.spawn(move || watched.poll(cluster, &|| at, Duration::from_millis(50), sent, &done));
        }
        let whole = Instant::now() + Duration::from_secs(90);
        while watched.whole.load(Ordering::SeqCst) == 0 || watched.floor[0].load(Ordering::SeqCst) == 0 {
            let errors = watched.errors.lock().unwrap();
            assert!(Instant::now() < whole, "no whole answer at the start: {errors:#?}\n{}", cluster.logs());
            drop(errors);
            std::thread::sleep(Duration::from_millis(100));
        }

        let begun = *watched.begun.get_or_init(Instant::now);
        work(&cluster, begun, &|from: Duration, (kind, what): Fault| {
            let (from, to) = (from.as_secs_f64(), begun.elapsed().as_secs_f64());
            faults.lock().unwrap().push((kind, format!("{from:.1}–{to:.1} s {what}")));
        });
        fed.store(true, Ordering::SeqCst);
        feeding.join().unwrap();
        let faults = faults.lock().unwrap();
        assert!(watched.wrong.lock().unwrap().is_empty(), "seed {seed}: {}", told(&watched, &faults));
        settle(&cluster, &sent, Duration::from_secs(180), &|| format!("seed {seed}: {}", told(&watched, &faults)));
    });
    let faults = faults.into_inner().unwrap();
    assert!(watched.wrong.lock().unwrap().is_empty(), "seed {seed}: {}", told(&watched, &faults));
    // Each key once, too.
    cluster.assert_by_key(&sent);
    let events = sent.0.iter().map(|sent| sent.load(Ordering::SeqCst)).sum();
    let echoed = cluster.wires.as_ref().map(Wires::echoed).unwrap_or_default();
    Ran { faults, events, watched, echoed }
}
