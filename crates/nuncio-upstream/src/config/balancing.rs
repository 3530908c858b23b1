//! How a host is chosen: the policy, what all policies share, and subsets.

use super::{EndpointHealth, Locality};
use nuncio_core::metadata::MetadataValue;
use nuncio_core::RuntimeValues;
use std::{any::Any, borrow::Cow, collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// The load balancing policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LbConfig {
    /// `ROUND_ROBIN`.
    RoundRobin {
        /// `slow_start_config`.
        slow_start: Option<SlowStart>,
    },
    /// `LEAST_REQUEST`.
    LeastRequest {
        /// `choice_count`, at least 2.
        choice_count: u32,
        /// `active_request_bias`, at least 0.
        active_request_bias: f64,
        /// `selection_method: FULL_SCAN`.
        full_scan: bool,
        /// `slow_start_config`.
        slow_start: Option<SlowStart>,
    },
    /// `RANDOM`.
    Random,
    /// `RING_HASH`, `MAGLEV`.
    Hash(HashLb),
}

impl LbConfig {
    /// Round robin without slow start.
    pub const ROUND_ROBIN: LbConfig = LbConfig::RoundRobin { slow_start: None };

    /// Whether a request's hash decides.
    pub fn is_hashing(&self) -> bool {
        matches!(self, LbConfig::Hash(_))
    }

    /// Whether hosts are compared by their requests in flight.
    pub fn compares_load(&self) -> bool {
        match self {
            LbConfig::LeastRequest { .. } => true,
            LbConfig::Hash(hash) => hash.balance_factor > 0,
            LbConfig::RoundRobin { .. } | LbConfig::Random => false,
        }
    }

    /// `slow_start_config`.
    pub fn slow_start(&self) -> Option<SlowStart> {
        match self {
            LbConfig::RoundRobin { slow_start } | LbConfig::LeastRequest { slow_start, .. } => *slow_start,
            LbConfig::Random | LbConfig::Hash(_) => None,
        }
    }
}

impl Default for LbConfig {
    fn default() -> Self {
        LbConfig::ROUND_ROBIN
    }
}

/// `SlowStartConfig`: a host that became healthy gets its full share only after a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// `slow_start_window`, longer than zero.
    pub window: Duration,
    /// `aggression`, greater than 0; 1 is linear.
    pub aggression: f64,
    /// `min_weight_percent`, 0 to 1.
    pub min_weight: f64,
}

/// Consistent hashing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HashLb {
    /// Which table.
    pub table: HashTableConfig,
    /// `use_hostname_for_hashing`.
    pub use_hostname: bool,
    /// `hash_balance_factor`, percent of the average load that a host may have; 0 for no limit.
    pub balance_factor: u32,
}

/// The table that maps hashes to hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashTableConfig {
    /// `RING_HASH`.
    Ring(RingHashConfig),
    /// `MAGLEV`.
    Maglev {
        /// `table_size`, a prime number.
        table_size: u64,
    },
}

/// `RingHashLbConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingHashConfig {
    /// `minimum_ring_size`.
    pub minimum_ring_size: u64,
    /// `maximum_ring_size`.
    pub maximum_ring_size: u64,
    /// `hash_function`.
    pub hash_function: HashFunction,
}

/// `HashFunction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HashFunction {
    /// `XX_HASH`.
    #[default]
    XxHash,
    /// `MURMUR_HASH_2`.
    MurmurHash2,
}

impl Default for RingHashConfig {
    fn default() -> Self {
        RingHashConfig {
            minimum_ring_size: 1024,
            maximum_ring_size: 8 * 1024 * 1024,
            hash_function: HashFunction::XxHash,
        }
    }
}

/// `CommonLbConfig`.
#[derive(Debug, Clone, PartialEq)]
pub struct CommonLbConfig {
    /// `healthy_panic_threshold`, percent; 0 disables panic.
    pub healthy_panic_threshold: f64,
    /// `locality_weighted_lb_config` is set.
    pub locality_weighted: bool,
    /// `zone_aware_lb_config`.
    pub zone_aware: ZoneAware,
    /// `ignore_new_hosts_until_first_hc`.
    pub ignore_new_hosts_until_first_hc: bool,
    /// `close_connections_on_host_set_change`.
    pub close_connections_on_host_set_change: bool,
    /// `update_merge_window`: health and weight changes within it reach the workers together. Zero: at once.
    pub update_merge_window: Duration,
    /// `override_host_status`: how well a host must be that a request asks for.
    pub override_host_status: HealthStatuses,
}

/// `HealthStatusSet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthStatuses(u8);

impl HealthStatuses {
    /// Whether a status is in the set.
    pub fn has(self, status: EndpointHealth) -> bool {
        self.0 & 1 << status as u8 != 0
    }
}

impl FromIterator<EndpointHealth> for HealthStatuses {
    fn from_iter<I: IntoIterator<Item = EndpointHealth>>(statuses: I) -> HealthStatuses {
        HealthStatuses(statuses.into_iter().fold(0, |set, status| set | 1 << status as u8))
    }
}

impl Default for HealthStatuses {
    /// Unknown, healthy and degraded.
    fn default() -> Self {
        [EndpointHealth::Unknown, EndpointHealth::Healthy, EndpointHealth::Degraded].into_iter().collect()
    }
}

impl Default for CommonLbConfig {
    fn default() -> Self {
        CommonLbConfig {
            healthy_panic_threshold: 50.0,
            locality_weighted: false,
            zone_aware: ZoneAware::default(),
            ignore_new_hosts_until_first_hc: false,
            close_connections_on_host_set_change: false,
            update_merge_window: Duration::from_secs(1),
            override_host_status: HealthStatuses::default(),
        }
    }
}

impl CommonLbConfig {
    /// With what the runtime has instead, under keys of all clusters: `upstream.healthy_panic_threshold`,
    /// `upstream.zone_routing.enabled` and `upstream.zone_routing.min_cluster_size`. It counts when hosts change next.
    pub(crate) fn now(&self, runtime: &RuntimeValues) -> Cow<'_, CommonLbConfig> {
        let number = |key| runtime.get(key).and_then(|value| value.uint());
        let panic = number("upstream.healthy_panic_threshold");
        let (enabled, size) = (number("upstream.zone_routing.enabled"), number("upstream.zone_routing.min_cluster_size"));
        if panic.is_none() && enabled.is_none() && size.is_none() {
            return Cow::Borrowed(self);
        }
        let percent = |told: Option<u64>, default| told.map_or(default, |told| told.min(100) as f64);
        let mut now = self.clone();
        now.healthy_panic_threshold = percent(panic, self.healthy_panic_threshold);
        now.zone_aware.routing_enabled = percent(enabled, self.zone_aware.routing_enabled);
        now.zone_aware.min_cluster_size = size.unwrap_or(self.zone_aware.min_cluster_size);
        Cow::Owned(now)
    }
}

/// `ZoneAwareLbConfig`: counts where there is a local cluster.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ZoneAware {
    /// `routing_enabled`, percent of requests.
    pub routing_enabled: f64,
    /// `min_cluster_size`, healthy hosts.
    pub min_cluster_size: u64,
    /// `fail_traffic_on_panic`.
    pub fail_traffic_on_panic: bool,
    /// `force_local_zone.min_size`: with as many healthy hosts in the local zone everything goes there.
    pub force_local_zone: Option<u32>,
    /// `locality_basis: HEALTHY_HOSTS_WEIGHT`: zones are compared by weight and not by number of hosts.
    pub by_weight: bool,
}

impl Default for ZoneAware {
    fn default() -> Self {
        ZoneAware {
            routing_enabled: 100.0,
            min_cluster_size: 6,
            fail_traffic_on_panic: false,
            force_local_zone: None,
            by_weight: false,
        }
    }
}

/// Which Envoys we are one of, and where we stand: what zone aware routing compares with.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Local {
    /// `cluster_manager.local_cluster_name`.
    pub cluster: Option<Arc<str>>,
    /// `node.locality`.
    pub locality: Option<Locality>,
}

/// `LbSubsetConfig`: hosts are chosen among those whose metadata agree with what the request asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubsetConfig {
    /// `fallback_policy`, where no selector has its own.
    pub fallback: SubsetFallback,
    /// `default_subset`.
    pub default_subset: BTreeMap<String, MetadataValue>,
    /// `subset_selectors`.
    pub selectors: Vec<SubsetSelector>,
    /// `allow_redundant_keys`: keys of the request that no selector has are passed over.
    pub allow_redundant_keys: bool,
    /// `locality_weight_aware`.
    pub locality_weight_aware: bool,
    /// `scale_locality_weight`.
    pub scale_locality_weight: bool,
    /// `panic_mode_any`.
    pub panic_mode_any: bool,
    /// `list_as_any`: a host with a list of values is in the subsets of each of them.
    pub list_as_any: bool,
    /// `metadata_fallback_policy: FALLBACK_LIST`.
    pub metadata_fallback_list: bool,
}

/// `LbSubsetSelector`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubsetSelector {
    /// `keys`, sorted, each once.
    pub keys: Vec<String>,
    /// `single_host_per_subset`.
    pub single_host: bool,
    /// `fallback_policy`; `None` for the configuration's.
    pub fallback: Option<SelectorFallback>,
}

/// `LbSubsetFallbackPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SubsetFallback {
    /// `NO_FALLBACK`: there is no host.
    #[default]
    None,
    /// `ANY_ENDPOINT`
    Any,
    /// `DEFAULT_SUBSET`
    Default,
}

/// `LbSubsetSelectorFallbackPolicy`.
#[derive(Debug, Clone, PartialEq)]
pub enum SelectorFallback {
    /// One of the policies that a configuration may have.
    As(SubsetFallback),
    /// `KEYS_SUBSET`: again, with these keys only.
    Keys(Vec<String>),
}

/// Something that a crate above keeps with a cluster. Two are equal that were made of the same bytes.
#[derive(Clone)]
pub struct Attached {
    source: Arc<[u8]>,
    value: Arc<dyn Any + Send + Sync>,
}

impl Attached {
    /// Keeps `value`, which was made of `source`.
    pub fn new(source: impl Into<Arc<[u8]>>, value: impl Any + Send + Sync) -> Attached {
        Attached { source: source.into(), value: Arc::new(value) }
    }

    /// The value, if it is of this type.
    pub fn get<T: 'static>(&self) -> Option<&T> {
        self.value.downcast_ref()
    }
}

impl PartialEq for Attached {
    fn eq(&self, other: &Attached) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attached({} bytes)", self.source.len())
    }
}
