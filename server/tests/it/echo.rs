//! A wire between two nodes on which requests come twice, late, and out of their turn.
//!
//! Nodes speak HTTP/2 to each other. What names a request (its head) goes on in the order in which it came, for each head is
//! read by the help of those before it; what completes it (its body) is held back for a while, by the request. So requests
//! overtake each other. The same goes a second time over another connection to the same node, where every request is held
//! back longer, also past the end of the one that sent it; what is answered there nobody reads.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::wires::Wire;

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames, and the flag of the last one of a stream's.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const END_STREAM: u8 = 1;

/// How long at most a request is held back, in milliseconds; of the first ones, one in four.
const FIRST_MAX_MS: u64 = 800;
const AGAIN_MAX_MS: u64 = 3_000;

/// How long the answers to the last of what came again are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Whether requests come again now, and how many did.
pub struct Echo {
    on: AtomicBool,
    random: AtomicU64,
    pub again: AtomicU64,
    /// Of those, which were answered.
    pub answered: AtomicU64,
    pub late: AtomicU64,
}

impl Echo {
    pub fn new(seed: u64) -> Echo {
        let [again, answered, late] = std::array::from_fn(|_| AtomicU64::default());
        Echo { on: AtomicBool::default(), random: AtomicU64::new(seed), again, answered, late }
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    /// Of connections that are made from here on, or of none any more.
    pub fn turn(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
    }

    fn below(&self, bound: u64) -> u64 {
        // Splitmix: threads take their numbers from one row.
        let mut z = self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// The way to a node, to be written to as if it were the connection.
pub struct Echoing {
    echo: Arc<Echo>,
    frames: Frames,
    first: Line,
    again: Option<Line>,
    wire: Box<dyn Wire>,
}

impl Echoing {
    /// `wire` is the connection, `other` another one to the same node.
    pub fn new(echo: Arc<Echo>, wire: Box<dyn Wire>, other: Box<dyn Wire>) -> Result<Echoing> {
        let first = Line::new(wire.twin()?, |wire| wire.shut(Shutdown::Write));
        let (mut answers, counted) = (other.twin()?, echo.clone());
        std::thread::spawn(move || {
            let (mut frames, mut chunk) = (Frames::default(), vec![0; 64 << 10]);
            while let Ok(read @ 1..) = answers.read(&mut chunk) {
                let heads = frames.cut(&chunk[..read]).filter(|frame| frame[3] == HEADERS).count();
                counted.answered.fetch_add(heads as u64, Ordering::SeqCst);
            }
        });
        let again = Line::new(other, |wire| {
            std::thread::sleep(LAST_ANSWERS);
            wire.shut(Shutdown::Both);
        });
        Ok(Echoing {
            echo,
            frames: Frames { preface: PREFACE.len(), ..Frames::default() },
            first,
            again: Some(again),
            wire,
        })
    }
}

impl Write for Echoing {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let is_on = self.echo.is_on();
        self.again.take_if(|_| !is_on);
        for frame in self.frames.cut(bytes) {
            if let Some(again) = &mut self.again {
                let held = || self.echo.below(AGAIN_MAX_MS);
                // One that is gone takes nothing with it.
                let _ = again.send(frame.clone(), held);
                let is_end = frame.get(3) == Some(&DATA) && frame[4] & END_STREAM != 0;
                self.echo.again.fetch_add(u64::from(is_end), Ordering::SeqCst);
            }
            let held = || match is_on && self.echo.below(4) == 0 {
                true => {
                    self.echo.late.fetch_add(1, Ordering::SeqCst);
                    self.echo.below(FIRST_MAX_MS)
                }
                false => 0,
            };
            self.first.send(frame, held)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Read for Echoing {
    fn read(&mut self, _: &mut [u8]) -> Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl Wire for Echoing {
    fn twin(&self) -> Result<Box<dyn Wire>> {
        Err(ErrorKind::Unsupported.into())
    }

    /// What is to come again does so nevertheless, and what is held back where only this way ends.
    fn shut(&self, how: Shutdown) {
        if how == Shutdown::Both {
            self.wire.shut(how);
        }
    }

    fn patient(&self, _: Option<Duration>) {}
}

/// A stream of bytes as frames.
#[derive(Default)]
struct Frames {
    /// Bytes that come before the first one.
    preface: usize,
    rest: Vec<u8>,
}

impl Frames {
    /// Those that end within the bytes that come next; what comes before the first frame is as one.
    fn cut(&mut self, bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
        self.rest.extend_from_slice(bytes);
        let mut whole = Vec::new();
        loop {
            let length = match (self.preface, self.rest.get(..3)) {
                (0, Some(length)) => 9 + u32::from_be_bytes([0, length[0], length[1], length[2]]) as usize,
                (0, None) => break,
                (preface, _) => preface,
            };
            if self.rest.len() < length {
                break;
            }
            self.preface = 0;
            whole.push(self.rest.drain(..length).collect());
        }
        whole.into_iter()
    }
}

/// Frames on their way: those of one request's body in their order, others in between.
struct Line {
    to: Sender<(Instant, Vec<u8>)>,
    /// By stream, when what completes it is due.
    due: HashMap<[u8; 4], Instant>,
}

impl Line {
    /// `end` is what is done when all that was sent has gone.
    fn new(mut wire: Box<dyn Wire>, end: impl FnOnce(&dyn Wire) + Send + 'static) -> Line {
        let (to, from) = channel();
        std::thread::spawn(move || {
            if deliver(from, &mut *wire).is_err() {
                wire.shut(Shutdown::Both);
            }
            end(&*wire);
        });
        Line { to, due: HashMap::new() }
    }

    /// `held` says for how many milliseconds a request is held back.
    fn send(&mut self, frame: Vec<u8>, held: impl FnOnce() -> u64) -> Result<()> {
        let mut at = Instant::now();
        if frame != PREFACE {
            let stream = [frame[5], frame[6], frame[7], frame[8]];
            if matches!(frame[3], DATA | RESET) {
                let due = self.due.entry(stream).or_insert_with(|| at + Duration::from_millis(held()));
                at = at.max(*due);
            }
        }
        self.to.send((at, frame)).map_err(|_| Error::from(ErrorKind::BrokenPipe))
    }
}

fn deliver(from: Receiver<(Instant, Vec<u8>)>, wire: &mut dyn Wire) -> Result<()> {
    let (mut waiting, mut number, mut is_open) = (BinaryHeap::new(), 0u64, true);
    while is_open || !waiting.is_empty() {
        let now = Instant::now();
        match waiting.peek() {
            Some(Reverse((due, _, _))) if *due <= now => {
                let Some(Reverse((_, _, frame))) = waiting.pop() else { break };
                let frame: Vec<u8> = frame;
                wire.write_all(&frame)?;
                continue;
            }
            _ => {}
        }
        let rest = waiting.peek().map_or(Duration::from_secs(1), |Reverse((due, _, _))| *due - now);
        if !is_open {
            std::thread::sleep(rest);
            continue;
        }
        match from.recv_timeout(rest) {
            Ok((due, frame)) => {
                waiting.push(Reverse((due, number, frame)));
                number += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => is_open = false,
        }
    }
    Ok(())
}

#[test]
fn requests_come_twice_and_out_of_turn() {
    use std::collections::BTreeMap;
    use std::net::{TcpListener, TcpStream};

    use axum::routing::post;
    use bytes::Bytes;

    const REQUESTS: usize = 60;
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let came: Arc<parking_lot::Mutex<Vec<String>>> = Arc::default();
    let noted = came.clone();
    let take = move |body: String| async move { noted.lock().push(body) };
    let node = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = node.local_addr().unwrap();
    let router = axum::Router::new().route("/", post(take));
    runtime.spawn(async move { axum::serve(node, router).await });

    let echo = Arc::new(Echo::new(1));
    echo.turn(true);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let here = listener.local_addr().unwrap();
    let of_wire = echo.clone();
    let wire = std::thread::spawn(move || {
        let (mut from, _) = listener.accept().unwrap();
        let (to, again) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
        let (mut answers, mut back) = (to.try_clone().unwrap(), from.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut answers, &mut back));
        let mut to = Echoing::new(of_wire, Box::new(to), Box::new(again)).unwrap();
        std::io::copy(&mut from, &mut to).unwrap();
    });
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(here).await.unwrap();
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut answers = Vec::new();
        for number in 0..REQUESTS {
            let mut sender = sender.clone().ready().await.unwrap();
            let request = axum::http::Request::post(format!("http://{address}/")).body(()).unwrap();
            let (answer, mut body) = sender.send_request(request, false).unwrap();
            body.send_data(Bytes::from(number.to_string()), true).unwrap();
            answers.push(answer);
        }
        for answer in answers {
            assert_eq!(answer.await.unwrap().status(), 200);
        }
        connection.abort();
    });
    wire.join().unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while came.lock().len() < 2 * REQUESTS || echo.answered.load(Ordering::SeqCst) < REQUESTS as u64 {
        assert!(Instant::now() < end, "{} came, {} answered", came.lock().len(), echo.answered.load(Ordering::SeqCst));
        std::thread::sleep(Duration::from_millis(5));
    }
    let came = came.lock().clone();
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    came.iter().for_each(|body| *times.entry(body).or_default() += 1);
    assert!(times.len() == REQUESTS && times.values().all(|times| *times == 2), "{times:?}");
    let mut first: Vec<usize> = Vec::new();
    came.iter().map(|body| body.parse().unwrap()).for_each(|n| {
        if !first.contains(&n) {
            first.push(n)
        }
    });
    assert!(!first.is_sorted(), "none overtook another");
    assert_eq!(echo.again.load(Ordering::SeqCst), REQUESTS as u64);
}
