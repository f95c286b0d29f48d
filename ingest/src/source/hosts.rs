//! Which hosts input may be read from over HTTP. What counts is the address that a connection goes to: a name that leads
//! somewhere else than it did, and a redirect, are looked at as what was asked for is. What a server sends of its own goes to
//! the same hosts and to no others ([`Outward`], [`HttpSources::addresses`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Where input may be read from over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSources {
    pub(crate) protocols: Vec<String>,
    /// Whether hosts with public addresses may be read unnamed.
    pub(crate) any_public: bool,
    /// Hosts that may be read wherever they are.
    pub(crate) named: Vec<Named>,
    /// Of a file that is fetched whole before it is read, unpacked.
    file_bytes_max: u64,
}

/// What a file that is fetched whole may have if nothing else is said.
const FILE_BYTES_MAX: u64 = 4 << 30;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    /// In lower case; beginning with a dot, all hosts whose names end so.
    host: String,
    port: Option<u16>,
}

/// Why a host is not read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl Default for HttpSources {
    fn default() -> HttpSources {
        HttpSources {
            protocols: vec!["http".into(), "https".into()],
            any_public: true,
            named: Vec::new(),
            file_bytes_max: FILE_BYTES_MAX,
        }
    }
}

impl HttpSources {
    /// `hosts` are `*` for any with a public address, names, names that begin with `*.`, and addresses, each with a port or
    /// without.
    pub fn new<'a>(
        protocols: impl Iterator<Item = &'a str>,
        hosts: impl Iterator<Item = &'a str>,
    ) -> Result<HttpSources, Refused> {
        let mut sources = HttpSources { protocols: Vec::new(), any_public: false, ..HttpSources::default() };
        for protocol in protocols {
            if !matches!(protocol, "http" | "https") {
                return Err(Refused(format!("'{protocol}' must be http or https")));
            }
            sources.protocols.push(protocol.to_string());
        }
        for host in hosts {
            match host {
                "*" => sources.any_public = true,
                host => sources.named.push(named(host)?),
            }
        }
        Ok(sources)
    }

    /// The same sources, of which a file that is fetched whole may have so many bytes.
    pub fn with_file_bytes_max(self, bytes: u64) -> HttpSources {
        HttpSources { file_bytes_max: bytes, ..self }
    }

    pub(crate) fn file_bytes_max(&self) -> u64 {
        self.file_bytes_max
    }

    /// Whether a URI may be read, as far as its words tell.
    pub(crate) fn check(&self, uri: &Uri) -> Result<(), Refused> {
        let scheme = uri.scheme_str().unwrap_or_default();
        if !self.protocols.iter().any(|known| known == scheme) {
            return Err(Refused(format!("is of the protocol {scheme:?}, which this server does not read input by")));
        }
        if self.any_public || self.is_named(uri) { Ok(()) } else { Err(not_allowed()) }
    }

    fn is_named(&self, uri: &Uri) -> bool {
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        self.names(uri.host().unwrap_or_default(), port)
    }

    /// Whether something may be sent to a host, as far as its name tells: where that leads is known when it is looked up.
    pub fn check_host(&self, host: &str, port: u16) -> Result<(), Refused> {
        if self.any_public || self.names(host, port) { Ok(()) } else { Err(not_allowed()) }
    }

    /// The addresses of a host that something may be sent to; blocks while they are looked up.
    pub fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Refused> {
        let is_named = self.names(host, port);
        let found = (bare(host).as_str(), port).to_socket_addrs().map_err(|_| not_allowed())?;
        let allowed: Vec<_> = found.filter(|address| is_named || self.any_public && is_public(address.ip())).collect();
        if allowed.is_empty() { Err(not_allowed()) } else { Ok(allowed) }
    }

    fn names(&self, host: &str, port: u16) -> bool {
        let host = bare(host);
        self.named.iter().any(|named| {
            let is_host = match named.host.starts_with('.') {
                true => host.len() > named.host.len() && host.ends_with(&named.host),
                false => same_host(&host, &named.host),
            };
            is_host && named.port.is_none_or(|named| named == port)
        })
    }
}

fn not_allowed() -> Refused {
    Refused("is on a host that is not found, or that this server may not read input from; an operator allows it in ingest.http_hosts".into())
}

fn named(text: &str) -> Result<Named, Refused> {
    let wrong = || Refused(format!("'{text}' must be *, a host, *.domain or an address, with a port or without"));
    let lower = text.to_ascii_lowercase();
    let (host, port) = match (lower.strip_prefix('['), lower.parse::<Ipv6Addr>()) {
        (_, Ok(_)) => (lower.as_str(), None),
        (Some(rest), _) => {
            let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
            (host, after.strip_prefix(':'))
        }
        (None, _) => lower.rsplit_once(':').map_or((lower.as_str(), None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| port.parse::<u16>().map_err(|_| wrong())).transpose()?;
    let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host).to_string();
    let is_odd = |c: char| c.is_whitespace() || "/*@?#[]".contains(c);
    if host.trim_matches('.').is_empty() || host.contains(is_odd) {
        return Err(wrong());
    }
    Ok(Named { host, port })
}

/// A host without brackets, in lower case.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase()
}

fn same_host(a: &str, b: &str) -> bool {
    a == b || matches!((a.parse::<IpAddr>(), b.parse::<IpAddr>()), (Ok(a), Ok(b)) if a == b)
}

/// Whether an address is one of the whole internet: no loopback, no private network, nothing that a network keeps for itself
/// (where clouds answer with credentials), nothing within another kind of address that is one of these.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => {
            let parts = v6.segments();
            let within = |high: u16, low: u16| {
                let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
                is_public_v4(Ipv4Addr::new(a, b, c, d))
            };
            match parts {
                [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => parts[5] == 0xffff && within(high, low),
                [0, 0, 0, 0, 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => within(high, low),
                [0x64, 0xff9b, ..] => false,
                [0x2002, high, low, ..] => within(high, low),
                // Teredo, documentation, and what is not given out for the internet.
                [0x2001, 0 | 0xdb8, ..] => false,
                [first, ..] => first & 0xe000 == 0x2000,
            }
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || a == 0
        || a >= 224
        || (a, b & 0xc0) == (100, 64)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        // Azure tells its machines credentials there.
        || address == Ipv4Addr::new(168, 63, 129, 16)
        || (a, b & 0xfe) == (198, 18))
}

/// Finds the addresses of hosts, and leaves out those that may not be read.
#[derive(Debug)]
pub(crate) struct Guarded {
    sources: Arc<HttpSources>,
    inner: DefaultResolver,
}

impl Guarded {
    pub(crate) fn new(sources: Arc<HttpSources>) -> Guarded {
        Guarded { sources, inner: DefaultResolver::default() }
    }
}

impl Resolver for Guarded {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout);
        if self.sources.is_named(uri) {
            return found;
        }
        // Which names a private network has is not told by another error.
        let Ok(found) = found else { return Err(ureq::Error::Other(Box::new(not_allowed()))) };
        let mut allowed = self.empty();
        if self.sources.any_public {
            found.iter().filter(|address| is_public(address.ip())).for_each(|address| allowed.push(*address));
        }
        if allowed.is_empty() {
            return Err(ureq::Error::Other(Box::new(not_allowed())));
        }
        Ok(allowed)
    }
}

/// Sends to the hosts that input may be read from.
pub struct Outward {
    sources: Arc<HttpSources>,
    agent: Agent,
}

impl Outward {
    /// `within`: what sending may take, from the first look for the host to the answer.
    pub fn new(sources: &Arc<HttpSources>, within: Duration) -> Outward {
        let config = Agent::config_builder()
            // It would be told to whoever the server names.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // It would look up the hosts itself, wherever they are.
            .proxy(None)
            .timeout_global(Some(within))
            .user_agent("henge")
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Guarded::new(sources.clone()));
        Outward { sources: sources.clone(), agent }
    }

    /// Whether a URL may be sent to, as far as its words tell.
    pub fn check(sources: &HttpSources, url: &str) -> Result<(), Refused> {
        let uri = parsed(url)?;
        sources.check(&uri)
    }

    /// The status of the answer; blocks until it is there. Errors tell nothing of the URL but that it is refused.
    pub fn post(&self, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<u16, Refused> {
        let uri = parsed(url)?;
        self.sources.check(&uri)?;
        let mut request = self.agent.post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send(body) {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(ureq::Error::Other(error)) if error.is::<Refused>() => Err(Refused(error.to_string())),
            Err(ureq::Error::Http(_) | ureq::Error::BadUri(_)) => Err(Refused("is not what can be asked for".into())),
            Err(error) => Err(Refused(format!("cannot be reached: {error}"))),
        }
    }
}

fn parsed(url: &str) -> Result<Uri, Refused> {
    let wrong = || Refused("must be http://HOST/PATH or https://HOST/PATH, without a name and password in it".into());
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if is_plain && has_host { Ok(uri) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_of_private_networks_are_told_from_public_ones() {
        for public in
            ["1.1.1.1", "8.8.8.8", "100.63.0.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for closed in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.192",
            "192.168.1.1",
            "168.63.129.16",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2001::1",
            "2002:7f00:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(closed.parse().unwrap()), "{closed}");
        }
    }

    fn sources(hosts: &str) -> HttpSources {
        HttpSources::new(["http", "https"].into_iter(), hosts.split(',')).unwrap()
    }

    #[test]
    fn hosts_are_read_that_are_named_or_public() {
        let uri = |text: &str| -> Uri { text.parse().unwrap() };
        let named = sources("files.example,*.data.example,10.0.0.1:8080,[fd00::1]:80");
        for good in [
            "http://files.example/x",
            "https://FILES.example.:9000/",
            "http://a.data.example",
            "http://10.0.0.1:8080/",
            "http://[fd00:0::1]/x",
        ] {
            assert!(named.check(&uri(good)).is_ok(), "{good}");
        }
        for bad in [
            "http://other.example/",
            "http://data.example/",
            "http://files.example.evil/",
            "http://10.0.0.1/",
            "http://evildata.example",
            "https://[fd00::1]/x",
            "ftp://files.example/x",
        ] {
            assert!(named.check(&uri(bad)).is_err(), "{bad}");
        }
        assert!(sources("*").check(&uri("http://anything.example")).is_ok());
        let tls = HttpSources::new(["https"].into_iter(), ["*"].into_iter()).unwrap();
        assert!(tls.check(&uri("http://anything.example")).is_err());
        let none = HttpSources::new(["http"].into_iter(), [].into_iter()).unwrap();
        assert!(none.check(&uri("http://anything.example")).is_err());
        for wrong in ["", "http://x", "a b", "x:y", "**", "*.", "a/b", "u@h"] {
            assert!(HttpSources::new(["http"].into_iter(), [wrong].into_iter()).is_err(), "{wrong}");
        }
        assert!(HttpSources::new(["file"].into_iter(), [].into_iter()).is_err());
    }

    #[test]
    fn what_is_sent_goes_to_the_hosts_that_are_read_and_nowhere_else() {
        for (hosts, host, allowed) in [
            ("*", "127.0.0.1", false),
            ("*", "localhost", false),
            ("*", "[::1]", false),
            ("*", "8.8.8.8", true),
            ("127.0.0.1:25", "127.0.0.1", true),
            ("127.0.0.1:26", "127.0.0.1", false),
            ("files.example", "8.8.8.8", false),
        ] {
            assert_eq!(sources(hosts).addresses(host, 25).is_ok(), allowed, "{hosts} {host}");
        }
        for (url, allowed) in [
            ("http://a.example/x?y=z", true),
            ("http://u:p@a.example/", false),
            ("http:///x", false),
            ("/x", false),
            ("file:///etc/passwd", false),
            ("smb://a.example/x", false),
        ] {
            assert_eq!(Outward::check(&sources("*"), url).is_ok(), allowed, "{url}");
        }
        // It is not asked at all.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let outward = Outward::new(&Arc::new(sources("*")), Duration::from_secs(5));
        let refused = outward.post(&url, &[], b"x").unwrap_err().to_string();
        assert!(refused.contains("ingest.http_hosts") && listener.accept().is_err(), "{refused}");
    }

    #[test]
    fn names_that_lead_to_this_machine_are_not_followed_unless_they_are_named() {
        let config = ureq::Agent::config_builder().build();
        let resolve = |hosts: &str, uri: &str| {
            let guarded = Guarded::new(Arc::new(sources(hosts)));
            guarded.resolve(&uri.parse().unwrap(), &config, NextTimeout::default()).map(|found| found.len())
        };
        assert!(resolve("localhost", "http://localhost:1/").is_ok());
        for uri in
            ["http://localhost:1/", "http://127.0.0.1/", "http://[::1]/", "http://0x7f000001/", "http://2130706433/"]
        {
            let error = resolve("*", uri).expect_err(uri).to_string();
            assert!(!error.is_empty());
        }
    }
}
