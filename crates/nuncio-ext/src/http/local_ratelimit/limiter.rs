//! Which buckets a request takes from, by what it counts as.

use crate::bucket::{Bucket, Size};
use nuncio_core::rate_limit::Descriptor;
use std::sync::{Arc, Mutex, PoisonError};

/// Limits as configured.
#[derive(Debug)]
pub(super) struct Limits {
    /// For every request; `None` for no such limit.
    pub(super) default: Option<Size>,
    /// For requests that count as these, the slowest first.
    pub(super) descriptors: Vec<Limited>,
    /// `always_consume_default_token_bucket`
    pub(super) always_default: bool,
    /// Buckets kept for the values of one descriptor with an open value.
    pub(super) max_dynamic: usize,
}

/// A descriptor with its limit.
#[derive(Debug)]
pub(super) struct Limited {
    /// Keys and values; an empty value stands for any, each with a bucket of its own.
    pub(super) entries: Vec<(Box<str>, Box<str>)>,
    pub(super) size: Size,
    /// Counted only.
    pub(super) shadow: bool,
}

/// The buckets of a filter, or of one connection.
#[derive(Debug)]
pub(super) struct Limiter {
    default: Option<Arc<Bucket>>,
    descriptors: Vec<Buckets>,
}

/// The buckets of a descriptor.
#[derive(Debug)]
enum Buckets {
    One(Arc<Bucket>),
    /// By the values that stand where any may stand; used last comes last.
    PerValue(Mutex<Vec<(Vec<String>, Arc<Bucket>)>>),
}

/// What came of a request.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) allowed: bool,
    /// A limit that is only counted would have refused it.
    pub(super) shadowed: bool,
    /// The bucket that headers tell of.
    pub(super) bucket: Option<Arc<Bucket>>,
}

impl Limited {
    fn is_open(&self) -> bool {
        self.entries.iter().any(|(_, value)| value.is_empty())
    }

    fn matches(&self, descriptor: &Descriptor) -> bool {
        self.entries.len() == descriptor.entries.len()
            && self.entries.iter().zip(&descriptor.entries).all(|((key, value), (k, v))| key == k && (value.is_empty() || **value == *v))
    }
}

impl Limiter {
    pub(super) fn new(limits: &Limits) -> Limiter {
        let buckets = |limited: &Limited| match limited.is_open() {
            true => Buckets::PerValue(Mutex::default()),
            false => Buckets::One(Arc::new(Bucket::new(limited.size))),
        };
        Limiter {
            default: limits.default.map(|size| Arc::new(Bucket::new(size))),
            descriptors: limits.descriptors.iter().map(buckets).collect(),
        }
    }

    /// Takes a request's tokens.
    pub(super) fn take(&self, limits: &Limits, descriptors: &[Descriptor], now: f64) -> Outcome {
        let mut shadowed = false;
        let mut first = None;
        for (limited, buckets) in limits.descriptors.iter().zip(&self.descriptors) {
            let Some(descriptor) = descriptors.iter().find(|descriptor| limited.matches(descriptor)) else { continue };
            let bucket = buckets.of(limited, descriptor, limits.max_dynamic);
            if !bucket.take(descriptor.hits.unwrap_or(1) as f64, now) {
                if !limited.shadow {
                    return Outcome { allowed: false, shadowed, bucket: Some(bucket) };
                }
                shadowed = true;
            }
            first.get_or_insert(bucket);
        }
        if (first.is_none() || limits.always_default)
            && let Some(default) = &self.default
            && !default.take(1.0, now)
        {
            return Outcome { allowed: false, shadowed, bucket: Some(default.clone()) };
        }
        Outcome { allowed: true, shadowed, bucket: first.or_else(|| self.default.clone()) }
    }
}

impl Buckets {
    fn of(&self, limited: &Limited, descriptor: &Descriptor, max: usize) -> Arc<Bucket> {
        let held = match self {
            Buckets::One(bucket) => return bucket.clone(),
            Buckets::PerValue(held) => held,
        };
        let values: Vec<String> = descriptor.entries.iter().map(|(_, value)| value.clone()).collect();
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match held.iter().position(|(of, _)| *of == values) {
            Some(at) => held.remove(at),
            None => (values, Arc::new(Bucket::new(limited.size))),
        };
        if held.len() >= max.max(1) {
            held.remove(0);
        }
        let bucket = entry.1.clone();
        held.push(entry);
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(value: &str) -> Descriptor {
        Descriptor { entries: vec![("user".into(), value.to_owned())], hits: None, negative_hits: false, limit: None }
    }

    fn limits(value: &str, shadow: bool, always_default: bool) -> Limits {
        let one = Size { max: 1.0, per_second: 0.001 };
        let limited = Limited { entries: vec![("user".into(), value.into())], size: one, shadow };
        Limits { default: Some(Size { max: 3.0, ..one }), descriptors: vec![limited], always_default, max_dynamic: 2 }
    }

    #[test]
    fn a_descriptor_has_a_bucket_of_its_own() {
        let limits = limits("a", false, true);
        let limiter = Limiter::new(&limits);
        let take = |value: &str| limiter.take(&limits, &[descriptor(value)], 1.0).allowed;
        assert!(take("a") && !take("a"), "its own bucket");
        assert!(take("b") && take("b") && !take("b"), "the rest of the default bucket");
    }

    #[test]
    fn an_open_value_has_a_bucket_for_each_value_up_to_a_number() {
        let limits = limits("", false, false);
        let limiter = Limiter::new(&limits);
        let take = |value: &str| limiter.take(&limits, &[descriptor(value)], 1.0).allowed;
        assert!(take("a") && !take("a") && take("b") && !take("b"));
        assert!(take("c") && take("a"), "the oldest is forgotten");
    }

    #[test]
    fn a_shadow_is_only_counted() {
        let limits = limits("a", true, false);
        let limiter = Limiter::new(&limits);
        assert!(limiter.take(&limits, &[descriptor("a")], 1.0).allowed);
        let outcome = limiter.take(&limits, &[descriptor("a")], 1.0);
        assert!(outcome.allowed && outcome.shadowed);
    }
}
