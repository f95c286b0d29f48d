//! A Redis server as the store of answers beyond the process: what one data node made of a segment, others find.
//!
//! It is not trusted. Names are MACs and values are sealed (ChaCha20-Poly1305, over the name) by keys that are made of the cluster's
//! secret: who can read there sees neither rows nor what is asked, and who can write there can only take away. What does not
//! open is as nothing.
//!
//! It is not waited for. Every act has a limit of a few milliseconds; one that fails is a miss, and for a second after it nobody
//! asks. What is put waits in a short queue, and is let go where that is full.
//!
//! Two commands are spoken (`MGET`, `SET … PX`), besides `AUTH` and `SELECT`: so few that they are written here, with a bound for
//! whatever comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex as Lock;
use query::cache::{Beyond, Key};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{hkdf, hmac};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, mpsc};

/// Connections that are asked by.
const CONNECTIONS: usize = 4;

/// Names in one command.
const NAMES_MAX: usize = 256;

/// Values that wait to be put.
const WAITING_MAX: usize = 32;

/// Nobody asks for so long after something failed.
const REST: Duration = Duration::from_secs(1);

/// Longest line of an answer.
const LINE_MAX: usize = 512;

/// Where the server is, and how it is gone about.
#[derive(Clone)]
pub struct Redis {
    address: String,
    /// User, which may be empty, and password.
    login: Option<(String, String)>,
    database: u32,
    timeout: Duration,
    expire_ms: u64,
    value_bytes_max: usize,
    seal: Arc<Seal>,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What hides and proves what is kept there.
struct Seal {
    names: hmac::Key,
    values: LessSafeKey,
    random: SystemRandom,
}

impl Seal {
    fn new(secret: &str) -> Seal {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"henge answers kept beyond the process");
        let root = salt.extract(secret.as_bytes());
        let names = root.expand(&[b"names"], hmac::HMAC_SHA256).expect("a key of the hash's length can be made");
        let values = root.expand(&[b"values"], &CHACHA20_POLY1305).expect("a key of 32 bytes can be made");
        Seal {
            names: hmac::Key::from(names),
            values: LessSafeKey::new(UnboundKey::from(values)),
            random: SystemRandom::new(),
        }
    }

    fn name(&self, key: &Key) -> String {
        let mut name = String::from("henge:");
        hmac::sign(&self.names, key).as_ref().iter().for_each(|byte| name.push_str(&format!("{byte:02x}")));
        name
    }

    /// A nonce, then what is sealed, then its tag.
    fn close(&self, key: &Key, value: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = value.to_vec();
        let of = Nonce::assume_unique_for_key(nonce);
        self.values.seal_in_place_append_tag(of, Aad::from(key), &mut sealed).ok()?;
        sealed.splice(0..0, nonce);
        Some(sealed)
    }

    fn open(&self, key: &Key, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = sealed.get(..NONCE_LEN)?.try_into().ok()?;
        let of = Nonce::assume_unique_for_key(nonce);
        let length = self.values.open_within(of, Aad::from(key), &mut sealed, NONCE_LEN..).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

impl Redis {
    /// `redis://[[user]:password@]host:port[/database]`; the error says what of it is wrong, and no part of it.
    pub fn new(
        url: &str,
        secret: &str,
        entry_bytes_max: usize,
        timeout: Duration,
        expire_ms: u64,
    ) -> Result<Redis, String> {
        let rest = url.strip_prefix("redis://").ok_or("must begin with redis://")?;
        let (login, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((login, place)) => {
                let (user, password) = login.split_once(':').ok_or("needs a colon before its password")?;
                (Some((user.to_string(), password.to_string())), place)
            }
        };
        let (address, database) = place.split_once('/').unwrap_or((place, "0"));
        let well = address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !well {
            return Err("must name a host and a port: redis://host:6379".into());
        }
        let database = if database.is_empty() { "0" } else { database };
        Ok(Redis {
            address: address.into(),
            login,
            database: database.parse().map_err(|_| "must end with the number of a database, or with none")?,
            timeout,
            expire_ms,
            value_bytes_max: entry_bytes_max + NONCE_LEN + CHACHA20_POLY1305.tag_len(),
            seal: Arc::new(Seal::new(secret)),
        })
    }

    /// Goes to work on the runtime at hand, for as long as what is given is held.
    pub fn start(self) -> Arc<dyn Beyond> {
        let (puts, waiting) = mpsc::channel(WAITING_MAX);
        let server = Arc::new(Server {
            redis: self,
            connections: Default::default(),
            turn: AtomicUsize::new(0),
            rests_until: Lock::new(None),
        });
        tokio::spawn(keep(server.clone(), waiting));
        Arc::new(Started { server, puts, runtime: Handle::current() })
    }
}

struct Started {
    server: Arc<Server>,
    puts: mpsc::Sender<(Key, Vec<u8>)>,
    runtime: Handle,
}

struct Server {
    redis: Redis,
    connections: [Mutex<Option<Connection>>; CONNECTIONS],
    turn: AtomicUsize,
    rests_until: Lock<Option<Instant>>,
}

impl Beyond for Started {
    fn get(&self, keys: &[Key]) -> Vec<Option<Vec<u8>>> {
        let mut values = Vec::with_capacity(keys.len());
        let until = Instant::now() + self.server.redis.timeout;
        for keys in keys.chunks(NAMES_MAX) {
            let left = until.saturating_duration_since(Instant::now());
            let found = match self.server.is_resting() || left.is_zero() {
                true => None,
                false => self.runtime.block_on(self.server.get(keys, left)),
            };
            values.extend(found.unwrap_or_else(|| vec![None; keys.len()]));
        }
        values
    }

    fn put(&self, key: Key, value: &[u8]) {
        if self.server.is_resting() || self.puts.try_send((key, value.to_vec())).is_err() {
            count("dropped", 1);
        }
    }
}

/// Puts what waits, until nobody can put any more.
async fn keep(server: Arc<Server>, mut waiting: mpsc::Receiver<(Key, Vec<u8>)>) {
    let mut connection = None;
    while let Some((key, value)) = waiting.recv().await {
        let redis = &server.redis;
        let Some(sealed) = redis.seal.close(&key, &value).filter(|_| !server.is_resting()) else {
            count("dropped", 1);
            continue;
        };
        // Nobody waits for it: it may take longer than an answer may.
        let put = tokio::time::timeout(REST, redis.put(&mut connection, &redis.seal.name(&key), &sealed)).await;
        match put {
            Ok(Ok(())) => count("put", 1),
            failed => {
                connection = None;
                server.failed(failed.ok().and_then(Result::err));
            }
        }
    }
}

impl Server {
    fn is_resting(&self) -> bool {
        self.rests_until.lock().is_some_and(|until| Instant::now() < until)
    }

    fn failed(&self, why: Option<Fault>) {
        count("failed", 1);
        let why = why.map_or_else(|| "it takes too long".to_string(), |why| why.to_string());
        tracing::debug!(address = %self.redis.address, why, "the store of answers cannot be asked");
        *self.rests_until.lock() = Some(Instant::now() + REST);
    }

    async fn get(&self, keys: &[Key], left: Duration) -> Option<Vec<Option<Vec<u8>>>> {
        let place = &self.connections[self.turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS];
        let got = tokio::time::timeout(left, async {
            // Taken out: if the time is over amid an answer, it is of no use any more.
            let mut place = place.lock().await;
            let mut connection = place.take();
            let values = self.redis.get(&mut connection, keys).await?;
            *place = connection;
            Ok::<_, Fault>(values)
        });
        let values = match got.await {
            Ok(Ok(values)) => values,
            failed => {
                self.failed(failed.ok().and_then(Result::err));
                return None;
            }
        };
        let opened = keys.iter().zip(values).map(|(key, value)| {
            let opened = value.map(|value| self.redis.seal.open(key, value));
            let outcome = match &opened {
                None => "miss",
                Some(None) => "refused",
                Some(Some(_)) => "hit",
            };
            count(outcome, 1);
            opened.flatten()
        });
        Some(opened.collect())
    }
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("its answer is none")]
    Answer,
    /// What it says of this may have anything in it.
    #[error("it refuses a command")]
    Refused,
}

type Result<T, E = Fault> = std::result::Result<T, E>;

struct Connection(BufReader<TcpStream>);

impl Redis {
    async fn get(&self, connection: &mut Option<Connection>, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>> {
        let names: Vec<String> = keys.iter().map(|key| self.seal.name(key)).collect();
        let words: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(names.iter().map(|name| name.as_bytes())).collect();
        let connection = self.connected(connection).await?;
        connection.send(&words).await?;
        if connection.number(b'*').await? != keys.len() as i64 {
            return Err(Fault::Answer);
        }
        let mut values = Vec::with_capacity(keys.len());
        for _ in keys {
            values.push(connection.bulk(self.value_bytes_max).await?);
        }
        Ok(values)
    }

    async fn put(&self, connection: &mut Option<Connection>, name: &str, value: &[u8]) -> Result<()> {
        let expire = self.expire_ms.to_string();
        let connection = self.connected(connection).await?;
        connection.ask(&[b"SET", name.as_bytes(), value, b"PX", expire.as_bytes()]).await
    }

    async fn connected<'a>(&self, connection: &'a mut Option<Connection>) -> Result<&'a mut Connection> {
        if connection.is_none() {
            let stream = TcpStream::connect(&self.address).await?;
            stream.set_nodelay(true)?;
            let mut fresh = Connection(BufReader::new(stream));
            if let Some((user, password)) = &self.login {
                let mut words: Vec<&[u8]> = vec![b"AUTH"];
                words.extend((!user.is_empty()).then_some(user.as_bytes()));
                words.push(password.as_bytes());
                fresh.ask(&words).await?;
            }
            if self.database != 0 {
                fresh.ask(&[b"SELECT", self.database.to_string().as_bytes()]).await?;
            }
            *connection = Some(fresh);
        }
        connection.as_mut().ok_or(Fault::Answer)
    }
}

impl Connection {
    async fn send(&mut self, words: &[&[u8]]) -> Result<()> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            command.extend(format!("${}\r\n", word.len()).bytes());
            command.extend_from_slice(word);
            command.extend(b"\r\n");
        }
        Ok(self.0.get_mut().write_all(&command).await?)
    }

    /// A command that is answered by a word.
    async fn ask(&mut self, words: &[&[u8]]) -> Result<()> {
        self.send(words).await?;
        match self.line().await?.first() {
            Some(b'+') => Ok(()),
            Some(b'-') => Err(Fault::Refused),
            _ => Err(Fault::Answer),
        }
    }

    async fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.0).take(LINE_MAX as u64).read_until(b'\n', &mut line).await?;
        match line.strip_suffix(b"\r\n") {
            Some(line) => Ok(line.to_vec()),
            None => Err(Fault::Answer),
        }
    }

    async fn number(&mut self, kind: u8) -> Result<i64> {
        let line = self.line().await?;
        match line.split_first() {
            Some((first, rest)) if *first == kind => {
                std::str::from_utf8(rest).ok().and_then(|text| text.parse().ok()).ok_or(Fault::Answer)
            }
            Some((b'-', _)) => Err(Fault::Refused),
            _ => Err(Fault::Answer),
        }
    }

    async fn bulk(&mut self, most: usize) -> Result<Option<Vec<u8>>> {
        let length = match self.number(b'$').await? {
            -1 => return Ok(None),
            length => usize::try_from(length).ok().filter(|length| *length <= most).ok_or(Fault::Answer)?,
        };
        let mut value = vec![0; length + 2];
        self.0.read_exact(&mut value).await?;
        value.ends_with(b"\r\n").then(|| value.truncate(length)).ok_or(Fault::Answer)?;
        Ok(Some(value))
    }
}

fn count(outcome: &'static str, many: u64) {
    metrics::counter!("henge_query_cache_redis_total", "outcome" => outcome).increment(many);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis(url: &str, secret: &str) -> Redis {
        Redis::new(url, secret, 1000, Duration::from_millis(200), 60_000).expect("an address")
    }

    #[test]
    fn addresses_are_read_or_refused() {
        let read = redis("redis://ann:p:w@h:1/3", "s");
        assert_eq!((read.address.as_str(), read.database), ("h:1", 3));
        assert_eq!(read.login, Some(("ann".into(), "p:w".into())));
        assert_eq!(redis("redis://:pw@[::1]:6379", "s").login, Some((String::new(), "pw".into())));
        for wrong in
            ["", "h:1", "rediss://h:1", "redis://h", "redis://:1", "redis://h:x", "redis://pw@h:1", "redis://h:1/x"]
        {
            let reason = Redis::new(wrong, "s", 1, Duration::ZERO, 1).expect_err(wrong);
            assert!(!reason.contains("pw"), "{reason}");
        }
        assert!(!format!("{read:?}").contains("p:w"));
    }

    #[test]
    fn what_is_sealed_opens_under_its_name_and_secret_alone() {
        let (seal, other) = (Seal::new("one"), Seal::new("two"));
        let sealed = seal.close(&[1; 32], b"rows").expect("it is sealed");
        assert!(!sealed.windows(4).any(|part| part == b"rows"));
        assert_eq!(seal.open(&[1; 32], sealed.clone()).as_deref(), Some(&b"rows"[..]));
        assert_eq!(seal.open(&[2; 32], sealed.clone()), None, "as the value of another name");
        assert_eq!(other.open(&[1; 32], sealed.clone()), None, "by another cluster");
        assert_ne!(seal.name(&[1; 32]), other.name(&[1; 32]));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(seal.open(&[1; 32], damaged), None);
            assert_eq!(seal.open(&[1; 32], sealed[..at].to_vec()), None);
        }
    }

    /// What a store gives, asked on a thread of its own as threads that compute do.
    fn get(store: &Arc<dyn Beyond>, keys: Vec<Key>) -> Vec<Option<Vec<u8>>> {
        let store = store.clone();
        std::thread::spawn(move || store.get(&keys)).join().expect("it is asked")
    }

    /// A server that answers every connection with these bytes, or with nothing for ever.
    async fn fake(answer: Option<&'static [u8]>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Some(answer) = answer {
                    let _ = stream.write_all(answer).await;
                }
                held.push(stream);
            }
        });
        format!("redis://{address}")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whatever_a_server_says_is_no_more_than_a_miss() {
        let huge = b"*1\r\n$999999999\r\n".as_slice();
        let wrong: [&'static [u8]; 8] = [
            b"",
            b"-ERR no\r\n",
            b"*2\r\n$-1\r\n$-1\r\n",
            huge,
            b"*1\r\n$4\r\nrows\r\n",
            b"*1\r\n$-7\r\n",
            b"*1\r\n$2\r\nabcd\r\n",
            &[b'*'; 600],
        ];
        for answer in wrong.into_iter().map(Some).chain([None]) {
            let redis = Redis { timeout: Duration::from_millis(50), ..redis(&fake(answer).await, "s") };
            let store = redis.start();
            assert_eq!(get(&store, vec![[1; 32]]), [None], "{answer:?}");
            store.put([1; 32], b"rows");
            assert_eq!(get(&store, vec![[1; 32], [2; 32]]), [None, None]);
        }
        let nobody = redis("redis://127.0.0.1:1", "s").start();
        assert_eq!(get(&nobody, vec![[1; 32]]), [None]);
        assert_eq!(get(&nobody, Vec::new()), []);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_real_server_gives_what_was_put_to_who_has_the_secret() {
        let Ok(url) = std::env::var("HENGE_TEST_REDIS") else {
            eprintln!("SKIPPED: HENGE_TEST_REDIS names no Redis server (dev/redis.sh starts one)");
            return;
        };
        let word = uuid::Uuid::new_v4().to_string();
        let (store, other) = (redis(&url, &word).start(), redis(&url, "another").start());
        let keys: Vec<Key> = (0..600u16)
            .map(|n| {
                let mut key = [7; 32];
                key[..2].copy_from_slice(&n.to_le_bytes());
                key
            })
            .collect();
        assert!(get(&store, keys.clone()).iter().all(Option::is_none));
        let value = |n: usize| vec![n as u8; n % 900];
        for (n, key) in keys.iter().enumerate() {
            while get(&store, vec![*key])[0].as_deref() != Some(&value(n)[..]) {
                store.put(*key, &value(n));
            }
        }
        let found = get(&store, keys.clone());
        assert!(found.iter().enumerate().all(|(n, found)| found.as_deref() == Some(&value(n)[..])));
        assert!(get(&other, keys).iter().all(Option::is_none));
    }
}
