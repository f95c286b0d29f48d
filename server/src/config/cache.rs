//! What of answers is kept, and where.

use std::time::Duration;

use super::ConfigError;
use super::cluster::SECRET_MIN;
use crate::redis::Redis;

/// Segments with fewer rows are folded in less time than anything is found and merged in.
const ROWS_MIN: usize = 16_384;

/// Rows for each group: a group is merged in about the time of four rows.
const ROWS_PER_GROUP: usize = 4;

/// What is asked once is mostly never asked again.
const ASKED_MIN: u32 = 2;

#[derive(Debug, Clone)]
pub struct CacheSettings {
    pub kept: query::cache::Settings,
    pub redis: Option<Redis>,
}

impl CacheSettings {
    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        self.kept.segments_bytes_max > 0 || self.kept.results_bytes_max > 0
    }
}

pub(super) fn cache(
    text: &dyn Fn(&str) -> String,
    number: &dyn Fn(&str, u64, u64) -> Result<u64, ConfigError>,
    bad: &dyn Fn(&str, &str) -> ConfigError,
) -> Result<CacheSettings, ConfigError> {
    let kept = query::cache::Settings {
        segments_bytes_max: number("cache.segments_bytes", 0, 1 << 40)?,
        results_bytes_max: number("cache.results_bytes", 0, 1 << 40)?,
        entry_bytes_max: number("cache.entry_max_bytes", 1, 1 << 28)? as usize,
        rows_min: ROWS_MIN,
        rows_per_group: ROWS_PER_GROUP,
        asked_min: ASKED_MIN,
    };
    let timeout = Duration::from_millis(number("cache.redis_timeout_ms", 1, 1000)?);
    let expire_ms = number("cache.redis_expire_ms", 1000, 1 << 40)?;
    let url = text("cache.redis_url");
    if url.is_empty() {
        return Ok(CacheSettings { kept, redis: None });
    }
    // Neither the address, which has a password in it, nor the secret is told.
    let refuse = |reason: &str| match bad("cache.redis_url", reason) {
        ConfigError::Value { place, name, reason, .. } => {
            ConfigError::Value { place, name, value: "***".into(), reason }
        }
        other => other,
    };
    if kept.segments_bytes_max == 0 {
        return Err(refuse("needs cache.segments_bytes: what is found there is kept here too"));
    }
    let secret = text("cluster.secret");
    if secret.len() < SECRET_MIN {
        return Err(refuse(
            "needs cluster.secret, by which what is kept there is sealed: whoever can write there could make up answers",
        ));
    }
    let redis =
        Redis::new(&url, &secret, kept.entry_bytes_max, timeout, expire_ms).map_err(|reason| refuse(&reason))?;
    Ok(CacheSettings { kept, redis: Some(redis) })
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn load(flags: &[(&str, &str)]) -> Result<Config, String> {
        let flags: Vec<(String, String)> =
            flags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Config::load(None, std::iter::empty(), &flags).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_kept_unless_somebody_says_so() {
        let none = load(&[]).expect("the defaults").cache;
        assert!(!none.is_on() && none.redis.is_none());
        assert!(load(&[("cache.results_bytes", "1")]).expect("a cache").cache.is_on());
    }

    #[test]
    fn redis_needs_what_seals_and_is_not_told() {
        let bytes = ("cache.segments_bytes", "1000000");
        let (url, secret) = (("cache.redis_url", "redis://:hush@h:1"), ("cluster.secret", "hush-hush-hush-hush"));
        let config = load(&[bytes, url, secret]).expect("a server");
        assert!(config.cache.redis.is_some() && !format!("{:?}", config.cache).contains("hush"));
        for wrong in [
            &[url, secret][..],
            &[bytes, url],
            &[bytes, url, ("cluster.secret", "hush")],
            &[bytes, ("cache.redis_url", "redis://:hush@h"), secret],
            &[bytes, ("cache.redis_url", "hush"), secret],
        ] {
            let refused = load(wrong).expect_err("a part is missing");
            assert!(refused.contains("cache.redis_url") && !refused.contains("hush"), "{refused}");
        }
    }
}
