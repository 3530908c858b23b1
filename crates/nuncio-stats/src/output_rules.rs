//! How names become labels and where histogram buckets lie: the bootstrap's `stats_config`.

use crate::tags::TagRules;
use std::fmt;

/// The borders Envoy uses where nothing else is configured.
pub const DEFAULT_BUCKETS: &[f64] = &[
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0, 30000.0,
    60000.0, 300000.0, 600000.0, 1800000.0, 3600000.0,
];

/// Whether a name is meant.
pub type NameMatch = Box<dyn Fn(&str) -> bool + Send + Sync>;

/// What the outputs need beside the values.
#[derive(Default)]
pub struct OutputRules {
    /// Which parts of a name become labels.
    pub tags: TagRules,
    /// `stats_matcher`: which statistics there are at all; every one without it.
    pub accepts: Option<NameMatch>,
    /// `histogram_bucket_settings`: the first that matches a histogram's name gives its borders (rising).
    pub bucket_settings: Vec<(NameMatch, Vec<f64>)>,
}

impl OutputRules {
    /// Whether a statistic of this name is shown and sent.
    pub fn accepts(&self, name: &str) -> bool {
        self.accepts.as_ref().is_none_or(|accepts| accepts(name))
    }

    /// The bucket borders of a histogram.
    pub fn buckets(&self, name: &dyn fmt::Display) -> &[f64] {
        if self.bucket_settings.is_empty() {
            return DEFAULT_BUCKETS;
        }
        let name = name.to_string();
        let setting = self
            .bucket_settings
            .iter()
            .find(|(matches, _)| matches(&name));
        setting.map_or(DEFAULT_BUCKETS, |(_, borders)| borders)
    }
}

impl fmt::Debug for OutputRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let borders: Vec<_> = self
            .bucket_settings
            .iter()
            .map(|(_, borders)| borders)
            .collect();
        f.debug_struct("OutputRules")
            .field("tags", &self.tags)
            .field("accepts", &self.accepts.is_some())
            .field("bucket_settings", &borders)
            .finish()
    }
}
