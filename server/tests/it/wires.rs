//! Every node in a network namespace of its own, and between them wires that the test can cut: which node reaches which
//! other, the metadata store, deep storage and Kafka.
//!
//! A namespace has nothing but its loopback. In each a relay (this test binary again, [`relay`]) listens on the ports that
//! its node knows the others by, and passes what comes through a Unix socket, which no namespace confines, to the hub in the
//! test's process. The hub looks whether that wire is whole, and passes it on: to a server of the test's own namespace, or
//! through the relay of the other node. A cut wire takes new connections and says nothing, as a lost network does, and old
//! ones break off. A server may also refuse: it closes connections, or answers each that it is too busy.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::echo::{Echo, Echoing};

/// What the relay is told by; a run of the tests without it has none.
const RELAY: &str = "HENGE_TEST_RELAY";

/// Bytes that are passed on at once.
const CHUNK: usize = 64 * 1024;

pub struct Wires {
    hub: Arc<Hub>,
    relays: Vec<Child>,
    /// Namespaces by node.
    names: BTreeMap<String, String>,
}

struct Hub {
    dir: PathBuf,
    /// By port: the node that listens on it, or a server outside of all namespaces.
    ends: BTreeMap<u16, String>,
    /// Wires that are cut, as who asks and whom.
    cut: Mutex<HashSet<(String, String)>>,
    /// Milliseconds that each chunk of what goes to an end takes longer.
    slow: Mutex<BTreeMap<String, u64>>,
    /// Of every ten chunks from this end one is the last of its connection.
    torn: Mutex<HashSet<String>>,
    /// What ends refuse with.
    refusing: Mutex<BTreeMap<String, Refusal>>,
    chunks: AtomicU64,
    /// Of wires between nodes.
    echo: Arc<Echo>,
    /// Grows when connections between nodes are to be made anew.
    life: AtomicU64,
    over: AtomicBool,
}

/// How a server refuses.
#[derive(Debug, Clone, Copy)]
pub enum Refusal {
    Closed,
    Busy,
}

const BUSY: &str = "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 56\r\nConnection: close\r\n\r\n\
                    <Error><Code>SlowDown</Code><Message>_</Message></Error>";

/// Whether namespaces can be had here; who may not have them is told so.
pub fn can_be_had(test: &str) -> bool {
    let name = format!("henge-{}", std::process::id());
    let ip = |arguments: &[&str]| {
        let run = Command::new("ip").args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        run.is_ok_and(|status| status.success())
    };
    let can = ip(&["netns", "add", &name]) && ip(&["-n", &name, "link", "set", "lo", "up"]);
    ip(&["netns", "del", &name]);
    if !can {
        eprintln!("=====================================================================");
        eprintln!("{test}: no network namespaces (root and `ip` are needed): NO WIRE IS CUT in this run");
        eprintln!("=====================================================================");
    }
    can
}

impl Wires {
    /// `nodes` are names and ports, `servers` those of what is outside.
    pub fn new(dir: &Path, nodes: &[(&str, u16)], servers: &[(&str, u16)], seed: u64) -> Wires {
        let ends = nodes.iter().chain(servers).map(|(name, port)| (*port, name.to_string())).collect();
        let hub = Arc::new(Hub {
            dir: dir.to_path_buf(),
            ends,
            cut: Mutex::default(),
            slow: Mutex::default(),
            torn: Mutex::default(),
            refusing: Mutex::default(),
            chunks: AtomicU64::default(),
            echo: Arc::new(Echo::new(seed)),
            life: AtomicU64::default(),
            over: AtomicBool::default(),
        });
        let mut wires = Wires { hub: hub.clone(), relays: Vec::new(), names: BTreeMap::new() };
        for (node, port) in nodes {
            let name = format!("henge-{}-{node}", std::process::id());
            let ip = |arguments: &[&str]| assert!(Command::new("ip").args(arguments).status().unwrap().success());
            ip(&["netns", "add", &name]);
            wires.names.insert(node.to_string(), name.clone());
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            // Of what the node asks.
            let from = hub.socket(node, "out");
            let listener = UnixListener::bind(&from).unwrap();
            let others: Vec<String> = hub.ends.keys().filter(|p| *p != port).map(u16::to_string).collect();
            let told = format!("{} {} {port} {}", from.display(), hub.socket(node, "in").display(), others.join(" "));
            let relay = Command::new("ip")
                .args(["netns", "exec", &name])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", "wires::relay", "--nocapture"])
                .env(RELAY, told)
                .stdout(Stdio::null())
                .spawn();
            wires.relays.push(relay.unwrap());
            let (hub, node) = (hub.clone(), node.to_string());
            std::thread::spawn(move || hub.clone().take_from(listener, &node));
        }
        // The test asks nodes under the ports that they have where they are.
        for (node, port) in nodes {
            let listener = TcpListener::bind(("127.0.0.1", *port)).unwrap();
            let (hub, node) = (hub.clone(), node.to_string());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (hub, node) = (hub.clone(), node.clone());
                    std::thread::spawn(move || {
                        let Ok(other) = hub.connect_in(&node) else { return };
                        hub.join(Box::new(stream), other, "test", &node);
                    });
                }
            });
        }
        for (node, _) in nodes {
            while !hub.socket(node, "in").exists() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        wires
    }

    /// What a command begins with to run where the node is.
    pub fn enter(&self, node: &str) -> Vec<String> {
        ["ip", "netns", "exec", &self.names[node]].map(str::to_string).to_vec()
    }

    /// Neither reaches the other from here on.
    pub fn cut(&self, one: &str, other: &str) {
        self.hub.cut.lock().unwrap().extend(both(one, other));
    }

    pub fn mend(&self, one: &str, other: &str) {
        let mut cut = self.hub.cut.lock().unwrap();
        cut.retain(|wire| !both(one, other).contains(wire));
    }

    /// Whatever is sent to or comes from an end takes so much longer a chunk; 0 is as fast as it goes.
    pub fn slow(&self, end: &str, ms: u64) {
        self.hub.slow.lock().unwrap().insert(end.to_string(), ms);
    }

    /// Whether answers of an end break off now and then.
    pub fn tear(&self, end: &str, torn: bool) {
        let mut of = self.hub.torn.lock().unwrap();
        if torn {
            of.insert(end.to_string())
        } else {
            of.remove(end)
        };
    }

    /// Whether an end refuses whatever is asked of it, and how.
    pub fn refuse(&self, end: &str, refusal: Option<Refusal>) {
        let mut refusing = self.hub.refusing.lock().unwrap();
        match refusal {
            Some(refusal) => drop(refusing.insert(end.to_string(), refusal)),
            None => drop(refusing.remove(end)),
        }
    }

    /// Whether requests between nodes come again, and out of their turn. It begins with new connections.
    pub fn echo(&self, on: bool) {
        self.hub.echo.turn(on);
        self.hub.life.fetch_add(u64::from(on), Ordering::SeqCst);
    }

    /// What became of requests that came again.
    pub fn echoed(&self) -> String {
        let of = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let echo = &self.hub.echo;
        format!(
            "{} requests came again, {} of them answered; {} were overtaken",
            of(&echo.again),
            of(&echo.answered),
            of(&echo.late)
        )
    }
}

fn both(one: &str, other: &str) -> [(String, String); 2] {
    [(one.to_string(), other.to_string()), (other.to_string(), one.to_string())]
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.hub.over.store(true, Ordering::SeqCst);
        for relay in &mut self.relays {
            let _ = relay.kill();
            let _ = relay.wait();
        }
        for name in self.names.values() {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Either kind of connection.
pub trait Wire: Read + Write + Send {
    fn twin(&self) -> std::io::Result<Box<dyn Wire>>;
    fn shut(&self, how: Shutdown);
    fn patient(&self, within: Option<Duration>);
}

macro_rules! wire {
    ($stream:ty) => {
        impl Wire for $stream {
            fn twin(&self) -> std::io::Result<Box<dyn Wire>> {
                Ok(Box::new(self.try_clone()?))
            }
            fn shut(&self, how: Shutdown) {
                let _ = self.shutdown(how);
            }
            fn patient(&self, within: Option<Duration>) {
                let _ = self.set_read_timeout(within);
            }
        }
    };
}
wire!(TcpStream);
wire!(UnixStream);

impl Hub {
    fn socket(&self, node: &str, way: &str) -> PathBuf {
        self.dir.join(format!("{node}.{way}"))
    }

    /// A connection into a node's namespace, to the port of the node.
    fn connect_in(&self, node: &str) -> std::io::Result<Box<dyn Wire>> {
        Ok(Box::new(UnixStream::connect(self.socket(node, "in"))?))
    }

    /// Takes what the relay of a node passes on: each connection says first for which port it is.
    fn take_from(self: Arc<Hub>, listener: UnixListener, node: &str) {
        for stream in listener.incoming().flatten() {
            let (hub, node) = (self.clone(), node.to_string());
            std::thread::spawn(move || {
                let mut port = [0; 2];
                let mut stream = stream;
                if stream.read_exact(&mut port).is_err() {
                    return;
                }
                let port = u16::from_be_bytes(port);
                let end = hub.ends[&port].clone();
                let is_node = hub.socket(&end, "in").exists();
                // A cut wire is silent: who asks must not take it for a refusal.
                while hub.is_cut(&node, &end) && !hub.over.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(50));
                }
                let refusal = hub.refusing.lock().unwrap().get(&end).copied();
                if let Some(refusal) = refusal {
                    if matches!(refusal, Refusal::Busy) {
                        stream.patient(Some(Duration::from_secs(2)));
                        let _ = stream.read(&mut vec![0; CHUNK]);
                        let _ = stream.write_all(BUSY.as_bytes());
                    }
                    stream.shut(Shutdown::Both);
                    return;
                }
                let other = if is_node {
                    hub.connect_in(&end)
                } else {
                    TcpStream::connect(("127.0.0.1", port)).map(|stream| {
                        let _ = stream.set_nodelay(true);
                        Box::new(stream) as Box<dyn Wire>
                    })
                };
                match other {
                    Ok(other) => hub.join(Box::new(stream), other, &node, &end),
                    Err(_) => stream.shut(Shutdown::Both),
                }
            });
        }
    }

    fn is_cut(&self, from: &str, to: &str) -> bool {
        self.cut.lock().unwrap().contains(&(from.to_string(), to.to_string()))
    }

    /// Passes bytes both ways until either end is done, or the wire is cut.
    fn join(self: Arc<Hub>, one: Box<dyn Wire>, other: Box<dyn Wire>, asks: &str, end: &str) {
        let (Ok(back_from), Ok(back_to)) = (other.twin(), one.twin()) else { return };
        let is_between = asks != "test" && self.socket(end, "in").exists();
        let life = is_between.then(|| self.life.load(Ordering::SeqCst));
        let other = match life.filter(|_| self.echo.is_on()) {
            Some(_) => match self.connect_in(end).and_then(|again| Echoing::new(self.echo.clone(), other, again)) {
                Ok(echoing) => Box::new(echoing),
                Err(_) => return,
            },
            None => other,
        };
        let (hub, from, to) = (self.clone(), asks.to_string(), end.to_string());
        std::thread::spawn(move || hub.pump(back_from, back_to, &from, &to, life, true));
        self.pump(one, other, asks, end, life, false);
    }

    /// Whether a connection that is there is to break off.
    fn breaks(&self, asks: &str, end: &str, life: Option<u64>) -> bool {
        self.is_cut(asks, end)
            || life.is_some_and(|life| life != self.life.load(Ordering::SeqCst))
            || self.refusing.lock().unwrap().contains_key(end)
    }

    fn pump(
        &self,
        mut from: Box<dyn Wire>,
        mut to: Box<dyn Wire>,
        asks: &str,
        end: &str,
        life: Option<u64>,
        back: bool,
    ) {
        from.patient(Some(Duration::from_millis(100)));
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                    if self.breaks(asks, end, life) || self.over.load(Ordering::SeqCst) {
                        break;
                    }
                    continue;
                }
                Err(_) => break,
            };
            if self.breaks(asks, end, life) {
                break;
            }
            let slow = self.slow.lock().unwrap().get(end).copied().unwrap_or(0);
            if slow > 0 {
                std::thread::sleep(Duration::from_millis(slow));
            }
            let is_torn = back
                && self.torn.lock().unwrap().contains(end)
                && self.chunks.fetch_add(1, Ordering::SeqCst).is_multiple_of(10);
            let kept = if is_torn { read / 2 } else { read };
            if to.write_all(&chunk[..kept]).is_err() || is_torn {
                break;
            }
        }
        // Of a stream that ends as it should the other way goes on.
        if self.breaks(asks, end, life) || back {
            from.shut(Shutdown::Both);
            to.shut(Shutdown::Both);
        } else {
            to.shut(Shutdown::Write);
        }
    }
}

/// No test: what runs within a namespace, when [`Wires`] starts it.
#[test]
fn relay() {
    let Ok(told) = std::env::var(RELAY) else { return };
    let mut words = told.split_whitespace();
    let (out, within) = (PathBuf::from(words.next().unwrap()), PathBuf::from(words.next().unwrap()));
    let own: u16 = words.next().unwrap().parse().unwrap();
    for port in words.map(|word| word.parse::<u16>().unwrap()) {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let out = out.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(mut hub) = UnixStream::connect(&out) else { continue };
                let _ = stream.set_nodelay(true);
                if hub.write_all(&port.to_be_bytes()).is_ok() {
                    pass(Box::new(stream), Box::new(hub));
                }
            }
        });
    }
    let listener = UnixListener::bind(within).unwrap();
    for stream in listener.incoming().flatten() {
        // A node that is not there refuses.
        match TcpStream::connect(("127.0.0.1", own)) {
            Ok(node) => {
                let _ = node.set_nodelay(true);
                pass(Box::new(stream), Box::new(node));
            }
            Err(_) => stream.shut(Shutdown::Both),
        }
    }
}

fn pass(one: Box<dyn Wire>, other: Box<dyn Wire>) {
    let (Ok(back_from), Ok(back_to)) = (other.twin(), one.twin()) else { return };
    std::thread::spawn(move || copy(one, other));
    std::thread::spawn(move || copy(back_from, back_to));
}

fn copy(mut from: Box<dyn Wire>, mut to: Box<dyn Wire>) {
    let _ = std::io::copy(&mut from, &mut to);
    to.shut(Shutdown::Write);
    // The other way ends by its own end; a broken one ends both.
    if to.flush().is_err() {
        from.shut(Shutdown::Both);
    }
}
