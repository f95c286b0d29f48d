//! What becomes of the machines that nodes run on: clocks that are minutes off, disks that are full; and nodes of the version
//! before.
//!
//! Clocks are those of libfaketime, for the process that it is loaded into: what tells the time of day is off, what measures
//! how long something takes is not. It reads a file once a second, so that a clock also jumps under a process that runs. Waits
//! of C11 that end at a time of day, as librdkafka's do, it does not know of; [`WAITS`] leads them to those that it knows. Disks
//! are small filesystems in memory, one below each node's data, and full of a file of the test's own. What cannot be had here
//! is said loudly, and such a fault is a restart then: what comes after it is the same whatever can be had.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Many times what a node of a test keeps.
const DISK: &str = "size=256m";

/// Names a binary of the version before.
const PREVIOUS: &str = "HENGE_TEST_PREVIOUS";

/// Conditions and locks of C11 are those of POSIX in glibc.
const WAITS: &str = r"
#include <errno.h>
#include <pthread.h>
#include <threads.h>

int cnd_timedwait(cnd_t *condition, mtx_t *lock, const struct timespec *until)
{
    switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)lock, until)) {
    case 0: return thrd_success;
    case ETIMEDOUT: return thrd_timedout;
    default: return thrd_error;
    }
}
";

pub struct Machines {
    dir: PathBuf,
    /// What is loaded into a process whose clock is off.
    libraries: Option<String>,
    pub previous: Option<PathBuf>,
    /// Disks by node, if they can be had.
    disks: Vec<PathBuf>,
}

impl Machines {
    /// Nodes have their data in `dir/NODE/data`.
    pub fn new(test: &str, dir: &Path, nodes: &[&str]) -> Machines {
        let (libraries, previous) = (libraries(dir), previous(test));
        let mut machines = Machines { dir: dir.to_path_buf(), libraries, previous, disks: Vec::new() };
        if machines.libraries.is_none() {
            say(test, "no libfaketime (Debian's package libfaketime), or no cc: NO CLOCK IS OFF in this run");
        }
        for node in nodes {
            let disk = dir.join(node).join("data");
            std::fs::create_dir_all(&disk).unwrap();
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(&disk).stderr(Stdio::null());
            if !mount.status().is_ok_and(|status| status.success()) {
                say(test, "no filesystem can be mounted (root is needed): NO DISK IS FULL in this run");
                break;
            }
            machines.disks.push(disk);
        }
        machines
    }

    /// Sets a node's clock, and gives the environment that its process is to be started in; `None` where it cannot be.
    pub fn set_clock(&self, node: &str, off_seconds: i64) -> Option<Vec<(String, String)>> {
        let libraries = self.libraries.as_ref()?;
        let told = self.dir.join(node).join("clock");
        // As a whole, or it is half read.
        let new = told.with_extension("new");
        std::fs::write(&new, format!("{off_seconds:+}s\n")).unwrap();
        std::fs::rename(&new, &told).unwrap();
        let environment = [
            ("LD_PRELOAD", libraries.clone()),
            ("FAKETIME_TIMESTAMP_FILE", told.display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            // Times of files are as they are.
            ("NO_FAKE_STAT", "1".into()),
        ];
        Some(environment.map(|(name, value)| (name.to_string(), value)).into())
    }

    /// A node's disk stays full until what this gives is dropped; `None` where it has none of its own.
    pub fn fill(&self, node: &str) -> Option<Full> {
        let disk = self.dir.join(node).join("data");
        self.disks.contains(&disk).then(|| Full::of(disk.join("ballast")))
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        for disk in &self.disks {
            let _ = Command::new("umount").arg("-l").arg(disk).status();
        }
    }
}

/// A binary of the version before, or `None` after saying so.
pub fn previous(test: &str) -> Option<PathBuf> {
    let binary = std::env::var_os(PREVIOUS).map(PathBuf::from);
    match &binary {
        None => say(test, &format!("{PREVIOUS} names no binary: NO NODE OF THE VERSION BEFORE in this run")),
        Some(binary) => assert!(binary.is_file(), "{PREVIOUS}: {} is no file", binary.display()),
    }
    binary
}

fn libraries(dir: &Path) -> Option<String> {
    let folders = std::fs::read_dir("/usr/lib").ok()?.flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    let faketime = libraries.find(|library| library.is_file())?;
    let (source, waits) = (dir.join("waits.c"), dir.join("waits.so"));
    std::fs::write(&source, WAITS).unwrap();
    let made = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).args([&waits, &source]).status();
    made.is_ok_and(|status| status.success()).then(|| format!("{}:{}", waits.display(), faketime.display()))
}

fn say(test: &str, what: &str) {
    eprintln!("=====================================================================");
    eprintln!("{test}: {what}");
    eprintln!("=====================================================================");
}

/// A file that takes what is free, and what becomes free.
pub struct Full {
    ballast: PathBuf,
    over: Arc<AtomicBool>,
    filling: Option<std::thread::JoinHandle<()>>,
}

impl Full {
    fn of(ballast: PathBuf) -> Full {
        let mut file = OpenOptions::new().create(true).append(true).open(&ballast).unwrap();
        take_all(&mut file);
        let over = Arc::new(AtomicBool::default());
        let told = over.clone();
        let filling = std::thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
                take_all(&mut file);
            }
        });
        Full { ballast, over, filling: Some(filling) }
    }
}

fn take_all(file: &mut File) {
    for bytes in [1 << 20, 4096] {
        let chunk = vec![0; bytes];
        while file.write_all(&chunk).is_ok() {}
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        if let Some(filling) = self.filling.take() {
            let _ = filling.join();
        }
        std::fs::remove_file(&self.ballast).unwrap();
    }
}
