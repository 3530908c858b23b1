//! The stable codes of what compiling and judging a configuration finds: 04xx is wrong or odd, 05xx is not built,
//! 06xx is a trap.
//!
//! Reading and validating have 00xx to 03xx in `nuncio_api::codes`. A code never changes its meaning.

nuncio_api::codes! {
    /// A route, filter or service names a cluster that is not declared. Static route tables are held to it unless
    /// `validate_clusters: false` stands in them; with dynamic routes requests to such a cluster get a 503.
    UNKNOWN_CLUSTER = "NUN0401";
    /// A name that must be unique stands twice: a cluster, a secret, a runtime layer.
    DUPLICATE_NAME = "NUN0402";
    /// Two listeners want the same address.
    DUPLICATE_ADDRESS = "NUN0403";
    /// The address cannot be used here: a host name where only an IP address works, or a name without a resolver.
    BAD_ADDRESS = "NUN0404";
    /// A listener that cannot take connections: no address, no filter chain, or chains that exclude each other.
    BAD_LISTENER = "NUN0405";
    /// The HTTP filter chain has no router at its end. Envoy accepts it, and every request hangs.
    NO_ROUTER = "NUN0406";
    /// A filter that ends the chain is not last, or the last filter does not end the chain.
    FILTER_ORDER = "NUN0407";
    /// A domain stands in two virtual hosts of one route configuration, or twice in one.
    DUPLICATE_DOMAIN = "NUN0408";
    /// Weights that cannot be chosen by: their sum is zero or more than 32 bits hold.
    BAD_WEIGHTS = "NUN0409";
    /// A source of dynamic configuration that cannot work as it is written.
    CONFIG_SOURCE = "NUN0410";
    /// A file that the configuration names cannot be read.
    MISSING_FILE = "NUN0411";
    /// A regular expression that RE2 does not accept.
    BAD_REGEX = "NUN0412";
    /// A format string with an unknown or unfinished command.
    BAD_FORMAT = "NUN0413";
    /// Settings that exclude each other.
    CONFLICT = "NUN0414";
    /// A value that passes the API's rules, but that cannot work.
    BAD_VALUE = "NUN0415";
    /// No extension of that name or type exists for this place.
    UNKNOWN_EXTENSION = "NUN0416";
    /// A certificate, key or list of trusted certificates that cannot be used.
    BAD_CERTIFICATE = "NUN0417";
    /// A script that does not compile.
    BAD_SCRIPT = "NUN0418";
    /// Something that is needed here is not set.
    MISSING = "NUN0419";
    /// A header that may not be changed or matched so.
    BAD_HEADER = "NUN0420";
    /// An entry that can never be reached, because an earlier one takes everything it could take.
    UNREACHABLE = "NUN0421";
    /// Envoy accepts this too, and it most likely does not do what was meant.
    SUSPICIOUS = "NUN0422";
    /// The field is understood, and has no effect in this version.
    WITHOUT_EFFECT = "NUN0501";
    /// The feature is not built, and ignoring it would be unsafe: nothing is started with it.
    NOT_BUILT = "NUN0502";
    /// Outlier detection that can eject no host: the cluster has so few that one is more than `max_ejection_percent` of
    /// them (10 by default), and `always_eject_one_host` is not set.
    NOBODY_EJECTED = "NUN0601";
    /// A traffic split with retries in which a cluster has one host. A retry takes another host of the same cluster, so
    /// while that host is down its share of the requests fails all the same.
    RETRY_CANNOT_HELP = "NUN0602";
    /// Health checks of a cluster without traffic run every 60 s unless `no_traffic_interval` says otherwise: a host that
    /// is down may be found out only then.
    IDLE_UNCHECKED = "NUN0603";
}

#[cfg(test)]
mod tests {
    #[test]
    fn codes_are_unique_and_explained() {
        for pair in super::ALL.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} then {}", pair[0].0, pair[1].0);
        }
        assert!(super::explain("nun0401").is_some_and(|t| t.contains("not declared")));
    }
}
