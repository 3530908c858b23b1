//! `envoy.filters.http.ip_tagging`: requests are marked with the names of the address ranges that they come from.
//!
//! Names stand in the order of the configuration (on Envoy in none that can be told).

use crate::read::{self, within};
use nuncio_api::envoy::extensions::filters::http::ip_tagging::v3 as proto;
use nuncio_codec::headers::{HeaderName, Known};
use nuncio_core::matching::Cidr;
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, Phases, Posture, Step, StreamCx};
use nuncio_rt::Address;
use nuncio_stats::{Scope, stats_table};
use proto::ip_tagging::{IpTag, IpTagHeader, RequestType, ip_tag_header::HeaderAction};
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.ip_tagging",
    message: "envoy.extensions.filters.http.ip_tagging.v3.IPTagging",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route: super::no_route_config,
};

stats_table! {
    /// `http.<prefix>.ip_tagging.`
    pub IP_TAGGING: "ip_tagging" {
        /// Requests that come from none of the ranges.
        counter NO_HIT = "no_hit" [lazy],
        /// Requests that were looked at.
        counter TOTAL = "total" [lazy],
    }
}

stats_table! {
    /// `http.<prefix>.ip_tagging.<tag>.`
    pub IP_TAG: "ip_tag" {
        /// Requests that were given the tag.
        counter HIT = "hit" [lazy],
    }
}

#[derive(Debug)]
struct Tag {
    name: Box<str>,
    ranges: Box<[Cidr]>,
    stats: Arc<Scope>,
}

/// Where tags go.
#[derive(Debug)]
struct TagHeader {
    name: HeaderName,
    /// What it has from elsewhere goes.
    sanitize: bool,
}

#[derive(Debug)]
struct IpTagging {
    requests: RequestType,
    tags: Box<[Tag]>,
    header: Option<TagHeader>,
    stats: Arc<Scope>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let config: proto::IpTagging = read::message(config)?;
    let requests = config.request_type();
    let proto::IpTagging { request_type: _, ip_tags, ip_tag_header, ip_tags_datasource } = config;
    if ip_tags_datasource.is_some() {
        let missing = ConfigError::at("ip_tags_datasource", "is accepted without effect: tags from a file are not built yet");
        cx.warnings.push(missing);
    } else if ip_tags.is_empty() {
        return Err(ConfigError::at("ip_tags", "is needed: without tags there is nothing to do"));
    }
    let prefix = format!("{}ip_tagging.", cx.stat_prefix);
    let tag = |IpTag { ip_tag_name, ip_list }: &IpTag| {
        Ok(Tag {
            name: ip_tag_name.as_str().into(),
            ranges: read::each("ip_list", ip_list, read::cidr)?,
            stats: cx.stats.scope(&format!("{prefix}{ip_tag_name}."), &IP_TAG),
        })
    };
    let header = |from: IpTagHeader| {
        let name = read::header_name(&from.header).map_err(within("ip_tag_header.header"))?;
        Ok(TagHeader { name, sanitize: from.action() == HeaderAction::Sanitize })
    };
    Ok(Arc::new(IpTagging {
        requests,
        tags: read::each("ip_tags", &ip_tags, tag)?,
        header: ip_tag_header.map(header).transpose()?,
        stats: cx.stats.scope(&prefix, &IP_TAGGING),
    }))
}

impl IpTagging {
    /// The names of a request's tags, joined.
    fn tags(&self, cx: &StreamCx) -> String {
        let Address::Ip(remote) = cx.info.remote.as_ref().unwrap_or(&cx.conn.remote) else { return String::new() };
        let mut names = String::new();
        for tag in self.tags.iter().filter(|tag| tag.ranges.iter().any(|range| range.contains(remote.ip()))) {
            tag.stats.inc(cx.worker.lane, HIT);
            if !names.is_empty() {
                names.push(',');
            }
            names.push_str(&tag.name);
        }
        names
    }
}

impl HttpFilter for IpTagging {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let internal = cx.request.get(Known::XEnvoyInternal) == Some(b"true");
        if (internal && self.requests == RequestType::External) || (!internal && self.requests == RequestType::Internal) {
            return Step::Continue;
        }
        let names = self.tags(cx);
        let lane = cx.worker.lane;
        self.stats.inc(lane, TOTAL);
        if names.is_empty() {
            self.stats.inc(lane, NO_HIT);
        }
        match &self.header {
            Some(header) if header.sanitize => {
                let had = cx.request.remove(&header.name);
                if !names.is_empty() {
                    cx.request.insert(&header.name, &names);
                }
                cx.route_is_stale |= had || !names.is_empty();
            }
            _ if names.is_empty() => {}
            Some(header) => {
                cx.request.append_joined(&header.name, ",", &names);
                cx.route_is_stale = true;
            }
            None => {
                cx.request.append_joined(Known::XEnvoyIpTags, ",", &names);
                cx.route_is_stale = true;
            }
        }
        Step::Continue
    }
}
