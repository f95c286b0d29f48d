//! What every answer says to browsers, and how many requests one caller may send.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use serde_json::json;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::auth::throttle::network;

/// On every answer: no guessing of types, no frames, no address of ours to others.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
];

/// Answers below these are nobody's to keep.
const PRIVATE: [&str; 2] = ["/henge/v1/security", "/druid-ext/basic-security"];

/// A page asks, which has a sign-in of its own: a challenge would have the browser put its box before it, and remember for every
/// other page what is typed there.
const BY_SCRIPT: HeaderName = HeaderName::from_static("x-requested-with");

/// A browser that was here by TLS comes back by TLS, for a year.
const HSTS: &str = "max-age=31536000";

/// The request came by TLS.
#[derive(Debug, Clone, Copy)]
pub struct Encrypted;

pub async fn headers(request: Request, next: Next) -> Response {
    let is_private = PRIVATE.iter().any(|path| request.uri().path().starts_with(path));
    let is_encrypted = request.extensions().get::<Encrypted>().is_some();
    let is_script = request.headers().contains_key(BY_SCRIPT);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if is_private {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if is_script {
        headers.remove(header::WWW_AUTHENTICATE);
    }
    if is_encrypted {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    response
}

/// Pages of these origins may read answers; without any, the layer is not there and browsers let none.
pub fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().cloned()),
    };
    CorsLayer::new().allow_origin(allowed).allow_methods(Any).allow_headers([
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::ACCEPT,
    ])
}

/// Callers that are remembered. Past it those who have sent nothing for a while are forgotten; who is forgotten starts
/// with a full allowance, which is what they have by then.
const CALLERS_MAX: usize = 10_000;

/// Requests that each caller may send: a steady rate, and some of a second's at once.
pub struct Rates {
    per_second: f64,
    burst: f64,
    callers: Mutex<HashMap<String, Allowance>>,
}

struct Allowance {
    left: f64,
    at: Instant,
}

impl Rates {
    /// `None` if there is no limit.
    pub fn new(per_second: u64) -> Option<Arc<Rates>> {
        let rate = per_second as f64;
        (per_second > 0)
            .then(|| Arc::new(Rates { per_second: rate, burst: rate.max(1.0) * BURST, callers: Mutex::default() }))
    }

    /// As [`Rates::admit`], of whoever has no name: those who send from there are one.
    pub fn admit_from(&self, address: IpAddr) -> Result<(), Box<Response>> {
        // No user's name has a colon in it.
        self.admit(&format!(":{}", network(address)))
    }

    /// Lets a request of a caller in, or says what to answer.
    pub fn admit(&self, caller: &str) -> Result<(), Box<Response>> {
        self.take(caller, Instant::now()).map_err(|seconds| {
            let message = format!("too many requests (setting http.requests_per_second); try again in {seconds} s");
            let mut refused =
                (StatusCode::TOO_MANY_REQUESTS, axum::Json(json!({"error": message, "errorMessage": message})))
                    .into_response();
            refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            refused.extensions_mut().insert(Limited);
            Box::new(refused)
        })
    }

    /// Takes one of a caller's requests; `Err` with the seconds after which there is another.
    fn take(&self, caller: &str, now: Instant) -> Result<(), u64> {
        let mut callers = self.callers.lock();
        if callers.len() >= CALLERS_MAX && !callers.contains_key(caller) {
            callers.retain(|_, allowance| allowance.refilled(self, now) < self.burst);
            if callers.len() >= CALLERS_MAX {
                // Each of them is at work: the newcomer waits for one to rest.
                return Err(1);
            }
        }
        let full = Allowance { left: self.burst, at: now };
        let allowance = callers.entry(caller.to_string()).or_insert(full);
        allowance.left = allowance.refilled(self, now);
        allowance.at = now;
        if allowance.left < 1.0 {
            return Err(((1.0 - allowance.left) / self.per_second).ceil().max(1.0) as u64);
        }
        allowance.left -= 1.0;
        Ok(())
    }
}

/// Seconds' worth of requests that may come at once.
const BURST: f64 = 2.0;

impl Allowance {
    fn refilled(&self, rates: &Rates, now: Instant) -> f64 {
        (self.left + now.saturating_duration_since(self.at).as_secs_f64() * rates.per_second).min(rates.burst)
    }
}

/// The answer says only that the caller sends too much: many of these are nothing to keep.
#[derive(Debug, Clone, Copy)]
pub struct Limited;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_caller_that_sends_too_much_waits_and_others_do_not() {
        let rates = Rates::new(10).expect("a limit");
        let start = Instant::now();
        let taken = (0..100).filter(|_| rates.take("a", start).is_ok()).count();
        assert_eq!(taken, 20);
        assert_eq!(rates.take("a", start), Err(1));
        assert_eq!(rates.take("b", start), Ok(()));
        let later = start + Duration::from_millis(350);
        assert_eq!((0..100).filter(|_| rates.take("a", later).is_ok()).count(), 3);
        assert!(Rates::new(0).is_none());
    }

    #[test]
    fn memory_is_bounded_by_the_callers_that_are_at_work() {
        let rates = Rates::new(1).expect("a limit");
        let start = Instant::now();
        for n in 0..CALLERS_MAX {
            assert_eq!(rates.take(&n.to_string(), start), Ok(()));
        }
        assert_eq!(rates.take("new", start), Err(1));
        assert_eq!(rates.take("new", start + Duration::from_secs(2)), Ok(()));
        assert!(rates.callers.lock().len() < 10);
    }
}
