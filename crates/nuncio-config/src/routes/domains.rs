//! Domains belong to one virtual host each.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::route::v3 as proto;
use std::collections::HashMap;

/// Reports domains that stand twice, with both places.
pub(super) fn check(cx: &mut CompileCx<'_>, config: &proto::RouteConfiguration) {
    let mut taken: HashMap<String, (usize, String)> = HashMap::new();
    for (index, host) in config.virtual_hosts.iter().enumerate() {
        for (nth, domain) in host.domains.iter().enumerate() {
            cx.item("virtual_hosts", index, |cx| {
                cx.item("domains", nth, |cx| {
                    let folded = domain.to_ascii_lowercase();
                    match taken.get(&folded) {
                        Some((earlier, path)) => report(cx, config, &folded, index, *earlier, path),
                        None => {
                            taken.insert(folded, (index, cx.path()));
                        }
                    }
                });
            });
        }
    }
}

fn report(
    cx: &mut CompileCx<'_>,
    config: &proto::RouteConfiguration,
    domain: &str,
    host: usize,
    earlier: usize,
    path: &str,
) {
    let name = |index: usize| config.virtual_hosts.get(index).map_or("", |host| &host.name);
    let message = if host == earlier {
        format!("the domain `{domain}` stands twice in the virtual host `{}`", name(host))
    } else {
        format!("the virtual hosts `{}` and `{}` both have the domain `{domain}`", name(earlier), name(host))
    };
    let envoy = if domain == "*" {
        format!("Only a single wildcard domain is permitted in route {}", config.name)
    } else {
        format!(
            "Only unique values for domains are permitted. Duplicate entry of domain {domain} in route {}",
            config.name
        )
    };
    let finding = cx.error(codes::DUPLICATE_DOMAIN, message);
    finding.envoy(envoy).also(path, "first here");
    if host != earlier {
        finding.help("put the routes of both into one virtual host");
    }
}
