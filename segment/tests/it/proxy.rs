//! A small HTTP proxy before an S3 server that does to chosen requests what networks and servers do at their worst.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Pass,
    /// The body ends after so many bytes though its head promises more.
    Cut(usize),
    /// The body has so many bytes fewer, and the head says so.
    Short(usize),
    /// The byte in the middle of the body is another.
    Flip,
    /// The server is not asked; this is the answer.
    Answer(u16, &'static str),
    /// The server is not asked, and nothing is answered.
    Hang,
    /// The server is not asked, and the connection ends.
    Close,
    /// The server does what it is asked, and its answer is lost.
    Lose,
}

/// A request, as the proxy sees it.
pub struct Asked {
    pub method: String,
    /// How many requests came before.
    pub before: usize,
}

type Plan = Box<dyn FnMut(&Asked) -> Fate + Send>;

pub struct Proxy {
    pub address: String,
    plan: Arc<Mutex<Plan>>,
    asked: Arc<Mutex<Vec<String>>>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(upstream: &str) -> Proxy {
        let upstream = upstream.trim_start_matches("http://").to_string();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let plan: Arc<Mutex<Plan>> = Arc::new(Mutex::new(Box::new(|_| Fate::Pass)));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = (plan.clone(), asked.clone());
        let accepting = tokio::spawn(async move {
            let mut serving = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                serving.spawn(serve(client, upstream.clone(), shared.0.clone(), shared.1.clone()));
            }
        });
        Proxy { address, plan, asked, accepting }
    }

    /// From now on. The count of requests starts anew.
    pub fn plan(&self, plan: impl FnMut(&Asked) -> Fate + Send + 'static) {
        *self.plan.lock() = Box::new(plan);
        self.asked.lock().clear();
    }

    /// Method and target of what was asked since the plan was made.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One request, one connection.
async fn serve(mut client: TcpStream, upstream: String, plan: Arc<Mutex<Plan>>, asked: Arc<Mutex<Vec<String>>>) {
    let Some((head, body)) = read_message(&mut client).await else { return };
    let mut words = head.lines().next().unwrap_or("").split(' ').map(str::to_string);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let fate = {
        let mut asked = asked.lock();
        let request = Asked { method: method.clone(), before: asked.len() };
        asked.push(format!("{method} {target}"));
        plan.lock()(&request)
    };
    match fate {
        Fate::Hang => return std::future::pending().await,
        Fate::Close => return,
        Fate::Answer(status, body) => {
            let len = body.len();
            let body = if method == "HEAD" { "" } else { body };
            let answer = format!("HTTP/1.1 {status} Fault\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n{body}");
            let _ = client.write_all(answer.as_bytes()).await;
            return;
        }
        _ => {}
    }
    let mut server = TcpStream::connect(&upstream).await.unwrap();
    let asked = [with_header(&head, "connection", "close").as_bytes(), &body].concat();
    server.write_all(&asked).await.unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.unwrap();
    if fate == Fate::Lose {
        return;
    }
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut body = answer.split_off(end);
    let mut head = with_header(&String::from_utf8(answer).unwrap(), "connection", "close");
    match fate {
        Fate::Cut(len) => body.truncate(len),
        Fate::Short(less) => {
            body.truncate(body.len() - less);
            head = with_header(&head, "content-length", &body.len().to_string());
        }
        Fate::Flip => {
            let middle = body.len() / 2;
            body[middle] ^= 0x40;
        }
        _ => {}
    }
    let _ = client.write_all(&[head.as_bytes(), &body].concat()).await;
    let _ = client.shutdown().await;
}

/// Head (with its empty line) and body.
async fn read_message(from: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if from.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8(bytes).ok()?;
    let len = header(&head, "content-length").map_or(0, |len| len.parse().unwrap());
    while body.len() < len {
        if from.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

fn with_header(head: &str, name: &str, value: &str) -> String {
    let is_other = |line: &&str| line.split_once(':').is_none_or(|(found, _)| !found.eq_ignore_ascii_case(name));
    let mut lines: Vec<String> = head.trim_end().lines().filter(is_other).map(str::to_string).collect();
    lines.push(format!("{name}: {value}\r\n\r\n"));
    lines.join("\r\n")
}
