//! Fail points: named places where a test makes the process die, to prove that a restart loses and doubles nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Error, Result};

/// The places, in the order of an event's journey.
pub const FAIL_POINTS: [&str; 9] = [
    "persist-before-manifest",
    "persist-after-manifest",
    "freeze",
    "push-before",
    "push-after",
    "publish-before",
    "publish-after",
    "handoff-before",
    "handoff-after",
];

/// What to do where. The default does nothing anywhere.
#[derive(Debug, Clone, Default)]
pub struct FailPoints(Option<Arc<Armed>>);

#[derive(Debug)]
struct Armed {
    name: String,
    /// Passes left until it strikes; 1 strikes next.
    left: AtomicU32,
    action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Action {
    /// The process kills itself, as `kill -9` would.
    Kill,
    /// The task ends there with [`Error::Halted`], cleaning nothing up.
    Halt,
}

impl FailPoints {
    pub fn none() -> FailPoints {
        FailPoints(None)
    }

    /// `name` or `name:nth`: the process dies at the nth pass.
    pub fn kill(text: &str) -> Result<FailPoints> {
        FailPoints::armed(text, Action::Kill)
    }

    /// As [`FailPoints::kill`], but only the task ends.
    pub fn halt(text: &str) -> Result<FailPoints> {
        FailPoints::armed(text, Action::Halt)
    }

    fn armed(text: &str, action: Action) -> Result<FailPoints> {
        let (name, nth) = match text.split_once(':') {
            None => (text, Some(1)),
            Some((name, nth)) => (name, nth.parse().ok().filter(|n| *n > 0)),
        };
        let Some(nth) = nth else {
            return Err(Error::invalid(format!(
                "fail point {text}: the pass after the colon must be a positive number"
            )));
        };
        if !FAIL_POINTS.contains(&name) {
            return Err(Error::invalid(format!("fail point {name} is none of {}", FAIL_POINTS.join(", "))));
        }
        Ok(FailPoints(Some(Arc::new(Armed { name: name.to_string(), left: AtomicU32::new(nth), action }))))
    }

    /// Passes a place.
    pub fn pass(&self, name: &'static str) -> Result<()> {
        let Some(armed) = &self.0 else { return Ok(()) };
        if armed.name != name || armed.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return Ok(());
        }
        if armed.action == Action::Kill {
            die();
        }
        Err(Error::Halted(name))
    }
}

/// Ends the process without unwinding, flushing or running destructors. The shell sends SIGKILL where there is one; an
/// abort is the nearest thing elsewhere.
fn die() -> ! {
    let pid = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-9", &pid]).status();
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_at_the_nth_pass_only() {
        let points = FailPoints::halt("freeze:2").unwrap();
        assert!(points.pass("freeze").is_ok());
        assert!(points.pass("push-before").is_ok());
        assert!(matches!(points.pass("freeze"), Err(Error::Halted("freeze"))));
        assert!(points.pass("freeze").is_ok());
        assert!(FailPoints::halt("nowhere").is_err());
        assert!(FailPoints::halt("freeze:0").is_err());
    }
}
