//! Batch tasks that read from a small HTTP server, which misbehaves as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::AtomicU32;

use segment::block::Value;
use serde_json::{Value as Json, json};

use super::tests::{Bench, row, spec};
use super::*;
use crate::source::hosts::HttpSources;

/// A request: the path, and its headers in lower case.
struct Asked {
    path: String,
    headers: BTreeMap<String, String>,
}

impl Asked {
    fn from(&self) -> Option<usize> {
        self.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }
}

/// Answers each connection's one request with the bytes that `answer` gives, and closes it. Its address.
fn serve(answer: impl Fn(&Asked) -> Vec<u8> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = one(stream, &answer);
        }
    });
    address
}

fn one(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> Vec<u8>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_string();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_string());
    }
    stream.write_all(&answer(&Asked { path, headers }))
}

/// An answer with its whole length, of which `sent` bytes are sent.
fn reply(status: &str, more: &str, body: &[u8], sent: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n", body.len());
    [head.as_bytes(), &body[..sent]].concat()
}

fn ok(body: &[u8]) -> Vec<u8> {
    reply("200 OK", "", body, body.len())
}

fn bench(hosts: &str) -> Bench {
    let mut bench = Bench::new();
    let sources = HttpSources::new(["http", "https"].into_iter(), hosts.split(','));
    bench.settings.http = Arc::new(sources.unwrap());
    bench
}

fn input(uris: &[String]) -> Json {
    json!({"type": "http", "uris": uris})
}

fn run(bench: &Bench, source: Json) -> Result<()> {
    bench.run(spec(false, source, json!({"type": "json"})))
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

const A: &[u8] = b"{\"t\":1,\"k\":\"a\",\"v\":1}\n";
const B: &[u8] = b"{\"t\":2,\"k\":\"b\",\"v\":2}";

#[test]
fn uris_are_read_packed_and_plain_with_what_their_server_is_told() {
    let address = serve(|asked| {
        let told = (asked.headers.get("authorization"), asked.headers.get("x-key"));
        if told != (Some(&"Basic YW5uOnNlc2FtZTo=".to_string()), Some(&"k".to_string())) {
            return reply("401 Unauthorized", "", b"", 0);
        }
        match asked.path.as_str() {
            "/a.json?x=1" => ok(A),
            "/b.json.GZ" => ok(&gzip(B)),
            "/packed" => reply("200 OK", "Content-Encoding: gzip\r\n", &gzip(A), gzip(A).len()),
            _ => reply("404 Not Found", "", b"", 0),
        }
    });
    let bench = bench("127.0.0.1");
    let uris = ["a.json?x=1", "b.json.GZ", "packed"].map(|path| format!("http://{address}/{path}"));
    let mut source = input(&uris);
    source["httpAuthenticationUsername"] = json!("ann");
    source["httpAuthenticationPassword"] = json!({"type": "default", "password": "sesame:"});
    source["requestHeaders"] = json!({"X-Key": "k"});
    run(&bench, source.clone()).unwrap();
    assert_eq!(bench.rows(), [row(1, "a", 1), row(1, "a", 1), row(2, "b", 2)]);
    let csv = serve(|asked| match asked.path.as_str() {
        "/1" => ok(b"t,k,v\n1,a,1\n"),
        _ => ok(b"v,t,k\n2,2,b\n"),
    });
    let source = input(&[format!("http://{csv}/1"), format!("http://{csv}/2")]);
    bench.run(spec(false, source, json!({"type": "csv", "findColumnsFromHeader": true}))).unwrap();
    assert_eq!(bench.rows(), [row(1, "a", 1), row(2, "b", 2)]);
    // Without what the server asks for: the URI without what may be secret in it, and the status.
    let error = run(&bench, input(&uris[..1])).unwrap_err().to_string();
    assert_eq!(error, format!("http://{address}/a.json: the server answered 401 Unauthorized"));
    let error = run(&bench, input(&[format!("http://{address}/x.zst")])).unwrap_err().to_string();
    assert!(error.contains("x.zst") && error.contains(".gz"), "{error}");
}

#[test]
fn parquet_files_are_fetched_whole_and_leave_nothing_behind() {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(Int64Array::from(vec![1, 2]))),
        ("k", Arc::new(StringArray::from(vec!["a", "b"]))),
        ("v", Arc::new(Int64Array::from(vec![1, 2]))),
    ];
    let records = arrow::record_batch::RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(Vec::new(), records.schema(), None).unwrap();
    writer.write(&records).unwrap();
    let file = writer.into_inner().unwrap();
    let address = serve(move |asked| if asked.path == "/good" { ok(&file) } else { ok(A) });
    let bench = bench("127.0.0.1");
    let ask = |path: &str| {
        let source = input(&[format!("http://{address}/{path}")]);
        bench.run(spec(false, source, json!({"type": "parquet"}))).map_err(|error| error.to_string())
    };
    ask("good").unwrap();
    assert_eq!(bench.rows(), [row(1, "a", 1), row(2, "b", 2)]);
    assert!(ask("bad").unwrap_err().contains("/bad is not a Parquet file"));
    assert!(!bench.settings.folder.join("batch/task").exists());
}

/// A whole file is kept on a disk that all tasks share: neither what a server says nor what it packs may fill it.
#[test]
fn what_is_fetched_whole_is_bounded() {
    const MOST: u64 = 10_000;
    let bomb = gzip(&vec![0; 1 << 20]);
    assert!(bomb.len() < MOST as usize / 2);
    let address = serve(move |asked| match asked.path.as_str() {
        "/said" => reply("200 OK", "", &vec![0; 20_000], 10),
        // Until the connection is closed.
        "/unsaid" => [&b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"[..], &vec![0; 20_000]].concat(),
        "/bomb" => reply("200 OK", "Content-Encoding: gzip\r\n", &bomb, bomb.len()),
        "/most" => ok(&[0; MOST as usize]),
        _ => ok(&[0; MOST as usize + 1]),
    });
    let ask = |path: &str| {
        let source = input(&[format!("http://{address}/{path}")]);
        // Anew each time: a failure cancels the others of its task.
        let mut bench = bench("127.0.0.1");
        bench.settings.http = Arc::new(HttpSources::clone(&bench.settings.http).with_file_bytes_max(MOST));
        bench.run(spec(false, source, json!({"type": "parquet"}))).unwrap_err().to_string()
    };
    for path in ["said", "unsaid", "bomb", "more"] {
        let error = ask(path);
        assert!(error.starts_with(&format!("http://{address}/{path} has more than the 10000 bytes")), "{error}");
        assert!(error.contains("ingest.http_file_max_bytes"), "{error}");
    }
    assert!(ask("most").contains("is not a Parquet file"));
}

#[test]
fn a_task_ends_while_its_server_hangs() {
    let (asked, told) = std::sync::mpsc::channel();
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                if head[0].contains("/body") {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").unwrap();
                }
                kept.push(stream);
                let _ = asked.send(());
            }
        });
        address
    };
    for path in ["head", "body"] {
        let bench = bench("127.0.0.1");
        let progress = bench.progress.clone();
        let source = input(&[format!("http://{address}/{path}")]);
        let running = std::thread::spawn(move || run(&bench, source).unwrap_err().to_string());
        told.recv().unwrap();
        let cancelled = std::time::Instant::now();
        progress.cancel();
        assert_eq!(running.join().unwrap(), "the task was cancelled", "{path}");
        assert!(cancelled.elapsed() < std::time::Duration::from_secs(8), "{path}: {:?}", cancelled.elapsed());
    }
}

/// What comes late is read all the same.
#[test]
fn a_slow_server_is_waited_for() {
    let address = serve(|asked| {
        if asked.path == "/slow" {
            std::thread::sleep(std::time::Duration::from_millis(2500));
        }
        ok(A)
    });
    let bench = bench("127.0.0.1");
    run(&bench, input(&[format!("http://{address}/slow")])).unwrap();
    assert_eq!(bench.rows(), [row(1, "a", 1)]);
}

#[test]
fn what_fails_for_a_moment_is_asked_again_and_what_is_cut_off_goes_on() {
    let text: Vec<u8> = (0..5000).flat_map(|v| format!("{{\"t\":1,\"k\":\"a\",\"v\":{v}}}\n").into_bytes()).collect();
    let whole = gzip(&text);
    let (asked_for, first) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (count, busy) = (asked_for.clone(), first.clone());
    let parts = whole.clone();
    let address = serve(move |asked| {
        if asked.path == "/busy" && busy.fetch_add(1, Ordering::Relaxed) < 2 {
            return reply("503 Service Unavailable", "", b"", 0);
        }
        count.fetch_add(1, Ordering::Relaxed);
        let from = asked.from().unwrap_or(0);
        let sent = (parts.len() - from).min(parts.len() / 3 + 1);
        match (asked.path.as_str(), from) {
            ("/busy", _) => ok(A),
            // Knows no ranges: what was read is passed over.
            ("/whole.gz", 0) => reply("200 OK", "Last-Modified: now\r\n", &parts, parts.len() / 2),
            ("/whole.gz", _) => reply("200 OK", "Last-Modified: now\r\n", &parts, parts.len()),
            ("/changing.gz", 0) => reply("200 OK", "ETag: \"1\"\r\n", &parts, sent),
            ("/changing.gz", _) => reply("206 Partial Content", "ETag: \"2\"\r\n", &parts[from..], sent),
            ("/nameless.gz", 0) => reply("200 OK", "", &parts, sent),
            (_, 0) => reply("200 OK", "ETag: \"1\"\r\n", &parts, sent),
            (_, from) => {
                let range =
                    format!("ETag: \"1\"\r\nContent-Range: bytes {from}-{}/{}\r\n", parts.len() - 1, parts.len());
                reply("206 Partial Content", &range, &parts[from..], sent)
            }
        }
    });
    let bench = bench("127.0.0.1");
    let uri = |path: &str| [format!("http://{address}/{path}")];
    run(&bench, input(&uri("busy"))).unwrap();
    assert_eq!((bench.rows(), first.load(Ordering::Relaxed)), (vec![row(1, "a", 1)], 3));
    for path in ["parts.gz", "whole.gz"] {
        run(&bench, input(&uri(path))).unwrap();
        let value = |row: &BTreeMap<String, Value>| if let Value::Long(v) = row["v"] { v } else { -1 };
        let mut values: Vec<i64> = bench.rows().iter().map(|(_, row)| value(row)).collect();
        values.sort_unstable();
        assert_eq!(values, (0..5000).collect::<Vec<_>>(), "{path}");
    }
    // A task that failed is cancelled, and another is asked.
    let error = run(&self::bench("127.0.0.1"), input(&uri("changing.gz"))).unwrap_err().to_string();
    assert!(error.contains("changing.gz changed while it was read"), "{error}");
    let error = run(&self::bench("127.0.0.1"), input(&uri("nameless.gz"))).unwrap_err().to_string();
    assert!(error.contains("neither ETag nor Last-Modified"), "{error}");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = run(&self::bench("127.0.0.1"), input(&[format!("http://{gone}/x?secret")])).unwrap_err().to_string();
    assert!(error.contains(&format!("http://{gone}/x")) && error.contains("tried 5 times"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn redirects_are_followed_so_far_and_tell_others_nothing() {
    let other = serve(|asked| match asked.headers.get("authorization").or(asked.headers.get("x-key")) {
        Some(_) => reply("400 Bad Request", "", b"", 0),
        None => ok(B),
    });
    let (elsewhere, closed) = (format!("http://{other}/b"), "http://localhost:1/".to_string());
    let address = serve(move |asked| {
        let moved = |to: &str| reply("302 Found", &format!("Location: {to}\r\n"), b"", 0);
        match asked.path.as_str() {
            "/folder/a" => moved("b?q"),
            "/folder/b?q" => moved("/c"),
            "/c" if asked.headers.contains_key("x-key") => ok(A),
            "/other" => moved(&elsewhere),
            "/closed" => moved(&closed),
            "/round" => moved("/round"),
            _ => moved(""),
        }
    });
    let bench = bench("127.0.0.1");
    let ask = |path: &str| {
        let mut source = input(&[format!("http://{address}/{path}")]);
        source["httpAuthenticationUsername"] = json!("ann");
        source["httpAuthenticationPassword"] = json!("sesame");
        source["requestHeaders"] = json!({"X-Key": "k"});
        run(&bench, source).map_err(|error| error.to_string())
    };
    ask("folder/a").unwrap();
    assert_eq!(bench.rows(), [row(1, "a", 1)]);
    ask("other").unwrap();
    assert_eq!(bench.rows(), [row(2, "b", 2)]);
    assert!(ask("round").unwrap_err().contains("/round is moved more than 5 times"));
    assert!(ask("closed").unwrap_err().contains("ingest.http_hosts"));
}

#[test]
fn this_machine_is_not_read_unless_it_is_named() {
    let address = serve(|_| ok(A));
    let uri = [format!("http://{address}/a")];
    for hosts in ["*", "files.example", "127.0.0.1:1"] {
        let error = run(&bench(hosts), input(&uri)).unwrap_err().to_string();
        assert!(error.contains(&uri[0]) && error.contains("ingest.http_hosts"), "{hosts}: {error}");
    }
    run(&bench(&address), input(&uri)).unwrap();
    let tls = HttpSources::new(["https"].into_iter(), ["127.0.0.1"].into_iter()).unwrap();
    let mut bench = bench("127.0.0.1");
    bench.settings.http = Arc::new(tls);
    assert!(run(&bench, input(&uri)).unwrap_err().to_string().contains("protocol"));
}
