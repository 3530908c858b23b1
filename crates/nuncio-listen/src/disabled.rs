//! `filter_disabled` of listener filters: which connections pass one by.

use nuncio_rt::Address;
use std::ops::Range;

/// `ListenerFilterChainMatchPredicate`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionMatch {
    /// `any_match`
    Any,
    /// `destination_port_range`; the end is not in it.
    Port(Range<i32>),
    /// `or_match`
    Or(Vec<ConnectionMatch>),
    /// `and_match`
    And(Vec<ConnectionMatch>),
    /// `not_match`
    Not(Box<ConnectionMatch>),
}

impl ConnectionMatch {
    /// Whether it holds for connections to this address.
    pub fn holds(&self, local: &Address) -> bool {
        match self {
            ConnectionMatch::Any => true,
            ConnectionMatch::Port(range) => matches!(local, Address::Ip(local) if range.contains(&i32::from(local.port()))),
            ConnectionMatch::Or(rules) => rules.iter().any(|rule| rule.holds(local)),
            ConnectionMatch::And(rules) => rules.iter().all(|rule| rule.holds(local)),
            ConnectionMatch::Not(rule) => !rule.holds(local),
        }
    }
}

/// When listener filters are passed by; `None` for never.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disabled {
    /// `tls_inspector`
    pub tls: Option<ConnectionMatch>,
    /// `http_inspector`
    pub http: Option<ConnectionMatch>,
    /// `proxy_protocol`
    pub proxy_protocol: Option<ConnectionMatch>,
    /// `original_dst`
    pub original_dst: Option<ConnectionMatch>,
}

/// Whether a filter with this condition is passed by.
pub(crate) fn is_off(condition: Option<&ConnectionMatch>, local: &Address) -> bool {
    condition.is_some_and(|condition| condition.holds(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_ranges_without_their_end() {
        let to = |port: u16| Address::Ip(([10, 0, 0, 1], port).into());
        let mysql = ConnectionMatch::Port(3306..3307);
        assert_eq!([3305, 3306, 3307].map(|port| mysql.holds(&to(port))), [false, true, false]);
        let but = ConnectionMatch::And(vec![ConnectionMatch::Any, ConnectionMatch::Not(Box::new(mysql.clone()))]);
        assert_eq!([but.holds(&to(3306)), but.holds(&to(80))], [false, true]);
        assert!(ConnectionMatch::Or(vec![mysql.clone(), ConnectionMatch::Port(80..81)]).holds(&to(80)));
        assert!(!mysql.holds(&Address::Pipe("/s".into())));
    }
}
