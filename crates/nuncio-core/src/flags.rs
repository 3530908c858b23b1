//! Response flags: why an exchange ended as it did, as access logs print it (`%RESPONSE_FLAGS%`).

use std::fmt;

/// A set of response flags that remembers in which order they were set: that is how Envoy prints them.
#[derive(Clone, Copy, Default)]
pub struct ResponseFlags {
    bits: u32,
    /// Numbers of the flags, counted from 1, in the order they were set; the first in the lowest byte. An exchange
    /// that collects more than eight keeps them all, and prints the first eight.
    order: u64,
}

/// One flag's short and long name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagName {
    /// What `%RESPONSE_FLAGS%` prints.
    pub short: &'static str,
    /// What `%RESPONSE_FLAGS_LONG%` prints.
    pub long: &'static str,
}

macro_rules! flags {
    ($($(#[doc = $doc:literal])* $id:ident = $short:literal $long:literal),* $(,)?) => {
        impl ResponseFlags { flags!(@bits 0u32; $($(#[doc = $doc])* $id,)*); }
        /// Names of all flags, in Envoy's order.
        pub static FLAGS: &[(ResponseFlags, FlagName)] =
            &[$((ResponseFlags::$id, FlagName { short: $short, long: $long })),*];
    };
    (@bits $n:expr; $(#[doc = $doc:literal])* $id:ident, $($rest:tt)*) => {
        $(#[doc = $doc])* pub const $id: ResponseFlags = ResponseFlags { bits: 1 << ($n), order: ($n) as u64 + 1 };
        flags!(@bits $n + 1; $($rest)*);
    };
    (@bits $n:expr;) => {};
}

flags! {
    /// The local service failed its health check.
    LH = "LH" "FailedLocalHealthCheck",
    /// No healthy host in the cluster.
    UH = "UH" "NoHealthyUpstream",
    /// The upstream took too long.
    UT = "UT" "UpstreamRequestTimeout",
    /// The stream was reset here.
    LR = "LR" "LocalReset",
    /// The upstream reset the stream.
    UR = "UR" "UpstreamRemoteReset",
    /// No connection to the upstream could be made.
    UF = "UF" "UpstreamConnectionFailure",
    /// The upstream closed the connection.
    UC = "UC" "UpstreamConnectionTermination",
    /// A circuit breaker was open.
    UO = "UO" "UpstreamOverflow",
    /// No route matched.
    NR = "NR" "NoRouteFound",
    /// A fault filter delayed the request.
    DI = "DI" "DelayInjected",
    /// A fault filter aborted the request.
    FI = "FI" "FaultInjected",
    /// Rate limited.
    RL = "RL" "RateLimited",
    /// Denied by the external authorization service.
    UAEX = "UAEX" "UnauthorizedExternalService",
    /// The rate limit service failed.
    RLSE = "RLSE" "RateLimitServiceError",
    /// The client closed the connection.
    DC = "DC" "DownstreamConnectionTermination",
    /// Retries were used up.
    URX = "URX" "UpstreamRetryLimitExceeded",
    /// The stream was idle for too long.
    SI = "SI" "StreamIdleTimeout",
    /// A strictly checked `x-envoy-*` request header had a bad value.
    IH = "IH" "InvalidEnvoyRequestHeaders",
    /// The client broke the protocol.
    DPE = "DPE" "DownstreamProtocolError",
    /// The upstream's max stream duration was reached.
    UMSDR = "UMSDR" "UpstreamMaxStreamDurationReached",
    /// Answered by a cache filter.
    RFCF = "RFCF" "ResponseFromCacheFilter",
    /// No filter configuration has arrived.
    NFCF = "NFCF" "NoFilterConfigFound",
    /// The connection or stream lived too long.
    DT = "DT" "DurationTimeout",
    /// The upstream broke the protocol.
    UPE = "UPE" "UpstreamProtocolError",
    /// The cluster does not exist.
    NC = "NC" "NoClusterFound",
    /// The overload manager ended the stream.
    OM = "OM" "OverloadManagerTerminated",
    /// A name could not be resolved.
    DF = "DF" "DnsResolutionFailed",
    /// Dropped by drop overload.
    DO = "DO" "DropOverload",
    /// The client reset the stream.
    DR = "DR" "DownstreamRemoteReset",
    /// Dropped unconditionally by drop overload.
    UDO = "UDO" "UnconditionalDropOverload",
}

impl ResponseFlags {
    /// No flag.
    pub const NONE: ResponseFlags = ResponseFlags { bits: 0, order: 0 };

    /// As a number: a bit for each flag, in Envoy's order.
    pub fn bits(self) -> u32 {
        self.bits
    }

    /// Adds the flags of `other`, those that are new.
    pub fn set(&mut self, other: ResponseFlags) {
        for number in other.order.to_le_bytes() {
            let Some(bit) = u32::from(number).checked_sub(1) else { break };
            if self.bits & (1 << bit) == 0 {
                self.bits |= 1 << bit;
                let used = (u64::BITS - self.order.leading_zeros()).next_multiple_of(8);
                self.order |= u64::from(number).checked_shl(used).unwrap_or(0);
            }
        }
        self.bits |= other.bits;
    }

    /// Removes the flags of `other`.
    pub fn unset(&mut self, other: ResponseFlags) {
        let kept = self.order.to_le_bytes();
        let bits = self.bits & !other.bits;
        *self = ResponseFlags::NONE;
        for number in kept {
            if let Some(bit) = u32::from(number).checked_sub(1)
                && bits & (1 << bit) != 0
            {
                self.set(ResponseFlags { bits: 1 << bit, order: u64::from(number) });
            }
        }
        self.bits = bits;
    }

    /// True if any flag of `other` is set.
    pub fn has(self, other: ResponseFlags) -> bool {
        self.bits & other.bits != 0
    }

    /// True if no flag is set.
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Names of the set flags, in the order they were set.
    pub fn names(self) -> impl Iterator<Item = FlagName> {
        let numbers = self.order.to_le_bytes();
        numbers.into_iter().filter_map(|number| FLAGS.get(usize::from(number).checked_sub(1)?)).map(|(_, name)| *name)
    }
}

/// Equal if the same flags are set, in whatever order.
impl PartialEq for ResponseFlags {
    fn eq(&self, other: &ResponseFlags) -> bool {
        self.bits == other.bits
    }
}

impl Eq for ResponseFlags {}

impl std::hash::Hash for ResponseFlags {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits.hash(state);
    }
}

impl fmt::Debug for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseFlags({self})")
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (i, name) in self.names().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            f.write_str(name.short)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_in_the_order_they_were_set() {
        assert_eq!(FLAGS.len(), 30);
        let mut f = ResponseFlags::NONE;
        assert_eq!(f.to_string(), "-");
        f.set(ResponseFlags::URX);
        f.set(ResponseFlags::UF);
        f.set(ResponseFlags::URX);
        assert_eq!(f.to_string(), "URX,UF");
        let mut g = ResponseFlags::UF;
        g.set(f);
        assert_eq!((g.to_string().as_str(), g == f), ("UF,URX", true));
        g.unset(ResponseFlags::UF);
        assert_eq!(g.to_string(), "URX");
    }

    #[test]
    fn every_flag_is_kept_and_the_first_eight_are_printed() {
        let mut all = ResponseFlags::NONE;
        for (flag, name) in FLAGS {
            assert_eq!(flag.to_string(), name.short);
            all.set(*flag);
        }
        assert!(FLAGS.iter().all(|(flag, _)| all.has(*flag)));
        assert_eq!(all.names().count(), 8);
    }
}
