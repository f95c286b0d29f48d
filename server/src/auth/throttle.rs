//! Brute force is slowed, per account and per address: after a few failures each further attempt has to wait, twice as
//! long each time, and at a limit the window closes for a while. Accounts that do not exist are counted as those that do.
//!
//! An attempt is counted when it begins and forgiven when it succeeds, so that many at once are no more than one by one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Failures before the first wait.
const FREE: u32 = 3;

/// The first wait, doubled with each further failure.
const WAIT: Duration = Duration::from_millis(500);

/// Many people may share an address: it bears so many times the failures of an account.
const ADDRESS_FACTOR: u32 = 5;

/// Accounts and addresses that are remembered, each; those with the fewest failures make room.
const REMEMBERED_MAX: usize = 10_000;

pub struct Throttle {
    failures_max: u32,
    lockout: Duration,
    accounts: Mutex<HashMap<String, Failures>>,
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    pub fn new(failures_max: u32, lockout: Duration) -> Throttle {
        Throttle { failures_max, lockout, accounts: Mutex::default(), addresses: Mutex::default() }
    }

    /// Counts an attempt, or says how long it has to wait, which counts nothing.
    pub fn begin(&self, account: &str, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let (account, address) = (key(account), network(address));
        let mut accounts = self.accounts.lock();
        let mut addresses = self.addresses.lock();
        let of_account = accounts.get(&account).map_or(Duration::ZERO, |of| self.left(of, 1, now));
        let of_address = addresses.get(&address).map_or(Duration::ZERO, |of| self.left(of, ADDRESS_FACTOR, now));
        let left = of_account.max(of_address);
        if !left.is_zero() {
            return Err(left);
        }
        count(&mut accounts, account, self.lockout, now);
        count(&mut addresses, address, self.lockout, now);
        Ok(())
    }

    /// The attempt that was counted succeeded: the account begins anew, the address gets it back.
    pub fn forgive(&self, account: &str, address: IpAddr) {
        self.accounts.lock().remove(&key(account));
        let mut addresses = self.addresses.lock();
        if let Some(of) = addresses.get_mut(&network(address)) {
            of.count = of.count.saturating_sub(1);
        }
    }

    fn left(&self, of: &Failures, factor: u32, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(of.last);
        let count = of.count / factor;
        let wait = match count {
            _ if count >= self.failures_max => self.lockout,
            _ if count < FREE => Duration::ZERO,
            _ => WAIT.saturating_mul(1 << (count - FREE).min(16)).min(self.lockout),
        };
        wait.saturating_sub(passed)
    }
}

/// Names are as long as whoever sends them likes.
pub fn key(account: &str) -> String {
    account.chars().take(128).collect()
}

/// Whom an address stands for wherever senders are told apart: of IPv6 its /64, which is one sender and has more addresses
/// than can be remembered.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

fn count<K: std::hash::Hash + Eq + Clone>(all: &mut HashMap<K, Failures>, key: K, forget: Duration, now: Instant) {
    let is_old = |of: &Failures| now.saturating_duration_since(of.last) >= forget;
    if let Some(of) = all.get_mut(&key) {
        of.count = if is_old(of) { 1 } else { of.count.saturating_add(1) };
        of.last = now;
        return;
    }
    if all.len() >= REMEMBERED_MAX {
        all.retain(|_, of| !is_old(of));
    }
    if all.len() >= REMEMBERED_MAX
        && let Some(least) = all.iter().min_by_key(|(_, of)| (of.count, of.last)).map(|(key, _)| key.clone())
    {
        all.remove(&least);
    }
    all.insert(key, Failures { count: 1, last: now });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_the_window_closes_and_opens() {
        let lockout = Duration::from_secs(60);
        let throttle = Throttle::new(6, lockout);
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..6 {
            while let Err(wait) = throttle.begin("ann", here, now) {
                waits.push(wait);
                now += wait;
            }
        }
        assert_eq!(waits, [WAIT, WAIT * 2, WAIT * 4]);
        assert_eq!(throttle.begin("ann", here, now), Err(lockout));
        assert_eq!(throttle.begin("bob", here, now), Ok(()), "the address bears more");
        now += lockout;
        assert_eq!(throttle.begin("ann", here, now), Ok(()));
        throttle.forgive("ann", here);
        for _ in 0..FREE {
            assert_eq!(throttle.begin("ann", here, now), Ok(()));
        }
        assert_eq!(throttle.begin("ann", here, now), Err(WAIT));
    }

    #[test]
    fn a_network_of_ipv6_is_one_sender() {
        let [near, same, far] =
            ["2001:db8::1:0:0:1", "2001:db8::2", "2001:db8:0:1::1"].map(|address| network(address.parse().unwrap()));
        assert!(near == same && near != far);
        let [plain, mapped] = ["192.0.2.1", "::ffff:192.0.2.1"].map(|address| network(address.parse().unwrap()));
        assert_eq!(plain, mapped);
    }

    #[test]
    fn an_address_with_many_names_is_slowed() {
        let throttle = Throttle::new(4, Duration::from_secs(60));
        let now = Instant::now();
        let tried = (0..1000u128).take_while(|nth| {
            let address = IpAddr::V6(Ipv6Addr::from(0x2001_0db8 << 96 | nth));
            throttle.begin(&format!("user-{nth}"), address, now).is_ok()
        });
        assert_eq!(tried.count(), (FREE * ADDRESS_FACTOR) as usize);
    }
}
