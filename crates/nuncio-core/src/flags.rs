//! Response flags: why an exchange ended as it did, as access logs print it (`%RESPONSE_FLAGS%`).

use std::fmt;

/// A set of response flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ResponseFlags(u32);

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
        $(#[doc = $doc])* pub const $id: ResponseFlags = ResponseFlags(1 << ($n));
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
    pub const NONE: ResponseFlags = ResponseFlags(0);

    /// Adds the flags of `other`.
    pub fn set(&mut self, other: ResponseFlags) {
        self.0 |= other.0;
    }

    /// Removes the flags of `other`.
    pub fn unset(&mut self, other: ResponseFlags) {
        self.0 &= !other.0;
    }

    /// True if any flag of `other` is set.
    pub fn has(self, other: ResponseFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// True if no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Names of the set flags, in Envoy's order.
    pub fn names(self) -> impl Iterator<Item = FlagName> {
        FLAGS.iter().filter(move |(f, _)| self.has(*f)).map(|(_, n)| *n)
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
    fn thirty_flags_print_joined_by_commas() {
        assert_eq!(FLAGS.len(), 30);
        let mut f = ResponseFlags::NONE;
        assert_eq!(f.to_string(), "-");
        f.set(ResponseFlags::URX);
        f.set(ResponseFlags::UF);
        assert_eq!(f.to_string(), "UF,URX");
    }
}
