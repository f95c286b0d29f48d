//! How much of the journal, and of what is not on disk yet, the events of queries may take: those of one sender seven
//! eighths of what is ordinary, those of all together fifteen sixteenths. Somebody who asks and asks loses events of their own, and what others
//! do, and whatever is no query, has room.

use std::collections::{HashMap, VecDeque};

use ingest::source::journal::{Journal, Refused, Room};
use parking_lot::Mutex;

/// Senders that are told apart; those beyond are one.
const SENDERS_MAX: usize = 10_000;

/// Into so many parts what is held is taken apart, to be forgotten one by one.
const PARTS: u64 = 64;

#[derive(Debug)]
pub struct Shares(Mutex<State>);

#[derive(Debug)]
struct State {
    unpublished: Held,
    unwritten: Held,
}

/// Why an event was not taken.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum Lost {
    #[error("the events of queries have their share of the journal, of one sender or of all")]
    Share,
    #[error(transparent)]
    Journal(#[from] Refused),
}

impl Shares {
    /// Of a journal of so many bytes, of which so many may be waiting for the disk.
    pub fn new(bytes_max: u64, queue_bytes_max: u64) -> Shares {
        let held = |bytes| Held::new(Room::Ordinary.of(bytes));
        Shares(Mutex::new(State { unpublished: held(bytes_max), unwritten: held(queue_bytes_max) }))
    }

    /// Takes the line of a query.
    pub fn append(&self, journal: &Journal, sender: &str, line: &[u8]) -> Result<(), Lost> {
        let State { unpublished, unwritten } = &mut *self.0.lock();
        let range = journal.range();
        unpublished.release(range.low);
        unwritten.release(range.high);
        let bytes = line.len() as u64 + 1;
        if !unpublished.fits(sender, bytes) || !unwritten.fits(sender, bytes) {
            return Err(Lost::Share);
        }
        let number = journal.append(line)?;
        unpublished.add(sender, bytes, number);
        unwritten.add(sender, bytes, number);
        Ok(())
    }
}

/// Lines that are held, by who sent them.
#[derive(Debug)]
struct Held {
    most: u64,
    all: u64,
    by_sender: HashMap<String, u64>,
    parts: VecDeque<Part>,
}

/// Lines that are forgotten together.
#[derive(Debug, Default)]
struct Part {
    last: i64,
    bytes: u64,
    by_sender: HashMap<String, u64>,
}

impl Held {
    fn new(most: u64) -> Held {
        Held { most, all: 0, by_sender: HashMap::new(), parts: VecDeque::new() }
    }

    /// Forgets the lines before one, as far as whole parts are.
    fn release(&mut self, before: i64) {
        while let Some(part) = self.parts.pop_front_if(|part| part.last < before) {
            self.all -= part.bytes;
            for (sender, bytes) in part.by_sender {
                let left = self.by_sender.get(&sender).map_or(0, |held| held - bytes);
                if left == 0 {
                    self.by_sender.remove(&sender);
                } else {
                    self.by_sender.insert(sender, left);
                }
            }
        }
    }

    fn name<'a>(&self, sender: &'a str) -> &'a str {
        let is_known = self.by_sender.contains_key(sender) || self.by_sender.len() < SENDERS_MAX;
        if is_known { sender } else { "" }
    }

    fn fits(&self, sender: &str, bytes: u64) -> bool {
        let own = self.by_sender.get(self.name(sender)).copied().unwrap_or(0);
        own + bytes <= self.most - self.most / 8 && self.all + bytes <= self.most - self.most / 16
    }

    fn add(&mut self, sender: &str, bytes: u64, line: i64) {
        let name = self.name(sender).to_string();
        if self.parts.back().is_none_or(|part| part.bytes >= self.most / PARTS) {
            self.parts.push_back(Part::default());
        }
        if let Some(part) = self.parts.back_mut() {
            part.last = line;
            part.bytes += bytes;
            *part.by_sender.entry(name.clone()).or_default() += bytes;
        }
        self.all += bytes;
        *self.by_sender.entry(name).or_default() += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sender_has_less_than_all_and_all_have_less_than_there_is_until_lines_go() {
        let mut held = Held::new(6400);
        let mut line = 0;
        let mut send = |held: &mut Held, sender: &str| {
            let mut sent = 0;
            while held.fits(sender, 100) {
                held.add(sender, 100, line);
                (line, sent) = (line + 1, sent + 1);
            }
            sent
        };
        assert_eq!(send(&mut held, "eve"), 56);
        assert_eq!(send(&mut held, "bob"), 4, "of what all have");
        assert_eq!(send(&mut held, "ann"), 0);
        held.release(8);
        assert_eq!((send(&mut held, "ann"), held.all), (8, 6000));
        held.release(1 << 40);
        assert_eq!((held.all, held.by_sender.len(), held.parts.len()), (0, 0, 0));
        assert_eq!(send(&mut held, "eve"), 56);
    }

    #[test]
    fn memory_is_bounded_by_those_who_are_told_apart() {
        let mut held = Held::new(1 << 40);
        for sender in 0..2 * SENDERS_MAX {
            held.add(&sender.to_string(), 1, sender as i64);
        }
        assert_eq!(held.by_sender.len(), SENDERS_MAX + 1);
        assert_eq!(held.by_sender[""], SENDERS_MAX as u64);
    }

    #[test]
    fn what_a_journal_does_not_take_takes_no_share() {
        let dir = tempfile::tempdir().unwrap();
        let limits =
            ingest::source::journal::JournalLimits { file_bytes: 100, bytes_max: 1600, queue_bytes_max: 16000 };
        let journal = Journal::open("audit", dir.path(), 0, limits).unwrap();
        let shares = Shares::new(1600, 16000);
        // Of 1200 ordinary bytes one has 1050, and all have 1125.
        let append = |sender: &str| shares.append(&journal, sender, &[b'x'; 99]);
        for _ in 0..10 {
            assert_eq!(append("eve"), Ok(()));
        }
        assert_eq!([append("eve"), append("bob"), append("bob")], [Err(Lost::Share), Ok(()), Err(Lost::Share)]);
        assert_eq!(journal.append(&[b'x'; 99]), Ok(11), "what is no query has the rest");
        let full = shares.append(&journal, "ann", b"x");
        assert!(matches!(full, Err(Lost::Journal(Refused::Unpublished { .. }))), "{full:?}");
        assert_eq!(shares.0.lock().unpublished.all, 1100);
    }
}
