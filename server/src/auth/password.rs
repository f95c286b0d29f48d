//! Passwords: argon2id, on blocking threads, a few at once.
//!
//! Whoever asks for an unknown user costs as much as one who errs in the password: [`Passwords::verify`] without a hash
//! does the same work against one that nothing matches.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tokio::sync::Semaphore;

/// Memory, passes and lanes of a hash: OWASP's first choice for argon2id. About 20 ms and 19 MiB.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Hashes that are made at once: what they hold of memory is 19 MiB each.
const AT_ONCE: usize = 2;

/// Those that may wait for their turn; each takes tens of milliseconds.
const WAITING_MAX: usize = 64;

/// A password's length in bytes.
pub const LENGTH_MIN: usize = 8;
pub const LENGTH_MAX: usize = 1024;

pub struct Passwords {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    dummy: String,
}

/// Too many are being checked already.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Busy;

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords::new()
    }
}

impl Passwords {
    pub fn new() -> Passwords {
        let no_password = [0; HASH_BYTES];
        let dummy = written(&super::random::<SALT_BYTES>(), &no_password);
        Passwords { permits: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0), dummy }
    }

    /// A hash to keep, in the PHC format.
    pub async fn hash(&self, password: &str) -> Result<String, Busy> {
        let password = password.as_bytes().to_vec();
        let salt = super::random::<SALT_BYTES>();
        let made = move || written(&salt, &derive(&password, &salt, MEMORY_KIB, PASSES, LANES).unwrap_or_default());
        self.run(made).await
    }

    /// Whether the password is that of the hash; without a hash, no, after as long a time.
    pub async fn verify(&self, password: &str, hash: Option<&str>) -> Result<bool, Busy> {
        let (known, hash) = (hash.is_some(), hash.unwrap_or(&self.dummy).to_string());
        let password = password.as_bytes().to_vec();
        let equal = self.run(move || matches(&password, &hash)).await?;
        Ok(equal && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
        let _place = Place::take(&self.waiting)?;
        let permit = self.permits.clone().acquire_owned().await.map_err(|_| Busy)?;
        // The permit goes along: work whose asker went away still occupies its thread.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(|_| Busy)
    }
}

/// A place among those who wait.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Place<'a>, Busy> {
        let place = Place(waiting);
        match waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            true => Ok(place),
            false => Err(Busy),
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn derive(password: &[u8], salt: &[u8], memory: u32, passes: u32, lanes: u32) -> Option<[u8; HASH_BYTES]> {
    let params = Params::new(memory, passes, lanes, Some(HASH_BYTES)).ok()?;
    let mut hash = [0; HASH_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into(password, salt, &mut hash).ok()?;
    Some(hash)
}

fn written(salt: &[u8], hash: &[u8; HASH_BYTES]) -> String {
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}")
}

/// What is not a hash of this form matches nothing.
fn matches(password: &[u8], written: &str) -> bool {
    let read = || {
        let rest = written.strip_prefix("$argon2id$v=19$m=")?;
        let (memory, rest) = rest.split_once(",t=")?;
        let (passes, rest) = rest.split_once(",p=")?;
        let mut rest = rest.split('$');
        let (lanes, salt, hash) = (rest.next()?, rest.next()?, rest.next()?);
        let (salt, hash) = (STANDARD_NO_PAD.decode(salt).ok()?, STANDARD_NO_PAD.decode(hash).ok()?);
        let made = derive(password, &salt, memory.parse().ok()?, passes.parse().ok()?, lanes.parse().ok()?)?;
        Some(super::same(&made, &hash))
    };
    read().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_matches_its_hash_alone() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse").await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse").await.unwrap());
        assert_eq!(passwords.verify("correct horse", Some(&hash)).await, Ok(true));
        assert_eq!(passwords.verify("correct hors", Some(&hash)).await, Ok(false));
        assert_eq!(passwords.verify("", Some("")).await, Ok(false));
        assert_eq!(passwords.verify("x", Some("$argon2id$v=19$m=8,t=1,p=1$AAAA$")).await, Ok(false));
        assert_eq!(passwords.verify("anything", None).await, Ok(false));
    }
}
