//! The threads that compute, apart from the async runtime and no more than there are cores. A query runs on one of them
//! and asks others to share its work; the asker works too, so a query goes on even when no other thread is free, and
//! nothing waits for a thread that waits.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

type Job = Box<dyn FnOnce() + Send>;

/// A fixed number of threads and a queue, served by priority, then in order.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: BinaryHeap<Queued>,
    next: u64,
    closed: bool,
}

struct Queued {
    priority: i64,
    number: u64,
    job: Job,
}

impl Pool {
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::default()), arrived: Condvar::new() });
        let threads = (0..threads.max(1))
            .map(|n| {
                let shared = shared.clone();
                std::thread::Builder::new()
                    .name(format!("query-{n}"))
                    .spawn(move || shared.work())
                    .expect("a thread can be started while the process starts")
            })
            .collect();
        Pool { shared, threads }
    }

    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// Runs a job on some thread, later. Larger priorities first.
    pub fn spawn(&self, priority: i64, job: impl FnOnce() + Send + 'static) {
        self.shared.push(priority, Box::new(job));
    }

    /// Runs `work(worker)` here and at once on up to `most - 1` threads that are or become free until the call here
    /// returns; then waits for those that began. Returns what each gave, this thread's first. `work` shares out
    /// what there is to do among its callers (a counter, a queue) and returns when nothing is left.
    pub fn share<T, F>(&self, most: usize, priority: i64, work: Arc<F>) -> Vec<T>
    where
        T: Send + 'static,
        F: Fn(usize) -> T + Send + Sync + 'static,
    {
        let helpers = most.min(self.threads.len()).saturating_sub(1);
        if helpers == 0 {
            return vec![work(0)];
        }
        let crew = Arc::new(Crew {
            state: Mutex::new(CrewState { results: Vec::new(), began: 0, open: true }),
            ended: Condvar::new(),
        });
        for _ in 0..helpers {
            let (crew, work) = (crew.clone(), work.clone());
            self.spawn(priority, move || crew.help(&*work));
        }
        let first = catch_unwind(AssertUnwindSafe(|| work(0)));
        let mut results = crew.close();
        results.insert(0, first);
        let mut values = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Ok(value) => values.push(value),
                Err(panic) => resume_unwind(panic),
            }
        }
        values
    }
}

impl Drop for Pool {
    /// Lets queued jobs finish. A pool dropped by its own last job leaves its threads to end by themselves.
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.arrived.notify_all();
        let me = std::thread::current().id();
        for thread in self.threads.drain(..) {
            if thread.thread().id() != me {
                // A job's panic was caught where it ran; there is nothing to hear from the thread.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn push(&self, priority: i64, job: Job) {
        let mut queue = self.queue.lock();
        let number = queue.next;
        queue.next += 1;
        queue.jobs.push(Queued { priority, number, job });
        drop(queue);
        self.arrived.notify_one();
    }

    fn work(&self) {
        loop {
            let mut queue = self.queue.lock();
            let job = loop {
                if let Some(queued) = queue.jobs.pop() {
                    break queued.job;
                }
                if queue.closed {
                    return;
                }
                self.arrived.wait(&mut queue);
            };
            drop(queue);
            // Whoever waits for the job's result sees that it is gone; the thread serves on.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

/// Those who share one piece of work.
struct Crew<T> {
    state: Mutex<CrewState<T>>,
    ended: Condvar,
}

struct CrewState<T> {
    results: Vec<std::thread::Result<T>>,
    began: usize,
    open: bool,
}

impl<T> Crew<T> {
    fn help(&self, work: &dyn Fn(usize) -> T) {
        let mut state = self.state.lock();
        if !state.open {
            return;
        }
        state.began += 1;
        let worker = state.began;
        drop(state);
        let result = catch_unwind(AssertUnwindSafe(|| work(worker)));
        self.state.lock().results.push(result);
        self.ended.notify_one();
    }

    /// Lets nobody begin any more and waits for those who did.
    fn close(&self) -> Vec<std::thread::Result<T>> {
        let mut state = self.state.lock();
        state.open = false;
        while state.results.len() < state.began {
            self.ended.wait(&mut state);
        }
        std::mem::take(&mut state.results)
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Queued) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Queued) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Queued) -> Ordering {
        self.priority.cmp(&other.priority).then(other.number.cmp(&self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn shared_work_is_done_once_and_by_nested_askers_too() {
        let pool = Arc::new(Pool::new(2));
        let (send, receive) = mpsc::channel();
        for _ in 0..20 {
            let (inner, send) = (pool.clone(), send.clone());
            pool.spawn(0, move || {
                let next = AtomicUsize::new(0);
                let work = move |_| {
                    let mut sum = 0;
                    loop {
                        let n = next.fetch_add(1, Relaxed);
                        if n >= 1000 {
                            return sum;
                        }
                        sum += n;
                    }
                };
                let sums = inner.share(8, 0, Arc::new(work));
                send.send(sums.iter().sum::<usize>()).unwrap();
            });
        }
        drop(send);
        let sums: Vec<usize> = receive.iter().collect();
        assert_eq!(sums, vec![999 * 1000 / 2; 20]);
    }

    #[test]
    fn higher_priority_runs_first() {
        let pool = Pool::new(1);
        let (send, receive) = mpsc::channel();
        let (hold, held) = mpsc::channel::<()>();
        pool.spawn(100, move || held.recv().unwrap());
        for (priority, name) in [(0, "a"), (5, "b"), (0, "c"), (5, "d")] {
            let send = send.clone();
            pool.spawn(priority, move || send.send(name).unwrap());
        }
        drop(send);
        hold.send(()).unwrap();
        assert_eq!(receive.iter().collect::<String>(), "bdac");
    }

    #[test]
    fn a_panic_reaches_the_asker_and_the_thread_survives() {
        let pool = Pool::new(2);
        let caught =
            catch_unwind(AssertUnwindSafe(|| pool.share(2, 0, Arc::new(|_| -> () { panic!("expected by the test") }))));
        assert!(caught.is_err());
        assert_eq!(pool.share(1, 0, Arc::new(|worker| worker)), vec![0]);
    }
}
