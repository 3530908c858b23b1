//! Who the client is, by extensions (`original_ip_detection_extensions`): `xff` and `custom_header`.
//!
//! They are asked in their order until one finds an address or refuses the request. Which entry of `x-forwarded-for` is
//! the client's, and when it may make the request an internal one, is Envoy's rule.

use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::matching::Cidr;
use std::net::IpAddr;

/// One extension.
#[derive(Debug, Clone)]
pub enum Detector {
    /// `xff`.
    ForwardedFor {
        /// Whose entries are passed over.
        trusted: Trusted,
        /// Our peer's address is added to `x-forwarded-for` (`skip_xff_append: false`).
        append: bool,
    },
    /// `custom_header`.
    Header {
        /// Where the address stands.
        name: HeaderName,
        /// `allow_extension_to_set_address_as_trusted`: an internal address makes an internal request.
        trusted: bool,
        /// `reject_with_status`: the answer where there is no address.
        reject: Option<u16>,
    },
}

/// Entries of `x-forwarded-for` that are proxies of ours, from its end on.
#[derive(Debug, Clone)]
pub enum Trusted {
    /// So many (`xff_num_trusted_hops`).
    Hops(u32),
    /// Those in the ranges, if our peer is in one, too (`xff_trusted_cidrs`).
    Ranges(Box<[Cidr]>),
}

/// What the extensions found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Detected {
    /// The client's address; our peer's where there is none.
    pub(crate) address: Option<IpAddr>,
    /// The address may make the request an internal one.
    pub(crate) trusted: bool,
    /// Our peer's address is to be added to `x-forwarded-for`.
    pub(crate) append: bool,
    /// The request is refused with this status.
    pub(crate) reject: Option<u16>,
}

/// Asks the extensions; `peer` is the other end of the connection.
pub(crate) fn detect(detectors: &[Detector], head: &HeaderMap, peer: Option<IpAddr>) -> Detected {
    let mut found = Detected::default();
    for detector in detectors {
        let address = match detector {
            Detector::ForwardedFor { trusted, append } => {
                found.append |= append;
                match trusted {
                    Trusted::Hops(hops) => last_of_forwarded_for(head, *hops),
                    Trusted::Ranges(ranges) => beyond(head, ranges, peer),
                }
            }
            Detector::Header { name, trusted, reject } => {
                let address = head.get_all(name).next().and_then(address);
                if address.is_none() && reject.is_some() {
                    found.reject = *reject;
                    return found;
                }
                address.map(|address| (address, *trusted))
            }
        };
        if let Some((address, trusted)) = address {
            (found.address, found.trusted) = (Some(address), trusted);
            break;
        }
    }
    found
}

/// The address `skip` places from the end of `x-forwarded-for`, and whether it is the only one.
pub(super) fn last_of_forwarded_for(head: &HeaderMap, skip: u32) -> Option<(IpAddr, bool)> {
    let list = head.get_joined(Known::XForwardedFor)?;
    let mut places = list.rsplit(|b| *b == b',');
    let place = places.nth(skip as usize)?;
    let alone = skip == 0 && places.next().is_none();
    Some((address(place)?, alone))
}

/// The first address from the end of `x-forwarded-for` that is none of ours, or the first of all where all are; and
/// whether it is the only one.
fn beyond(head: &HeaderMap, ours: &[Cidr], peer: Option<IpAddr>) -> Option<(IpAddr, bool)> {
    let is_ours = |address: IpAddr| ours.iter().any(|range| range.contains(address));
    if !peer.is_some_and(is_ours) {
        return None;
    }
    let list = head.get_joined(Known::XForwardedFor)?;
    let alone = !list.contains(&b',');
    let mut last = None;
    for place in list.rsplit(|b| *b == b',') {
        let found = address(place)?;
        last = Some((found, alone));
        if !is_ours(found) {
            break;
        }
    }
    last
}

fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}
