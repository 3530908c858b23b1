//! The static clusters and listeners: each compiled, and none in another's way.

use crate::codes;
use crate::context::CompileCx;
use crate::snapshot::{Encoded, StaticCluster, StaticListener};
use nuncio_api::envoy::config::cluster::v3::Cluster;
use nuncio_api::envoy::config::bootstrap::v3::bootstrap::StaticResources;
use nuncio_api::schema::Reader;
use nuncio_listen::Digest;
use prost::Message as _;
use std::collections::HashMap;
use std::sync::Arc;

/// Field numbers in `Bootstrap` and `StaticResources`.
pub(super) const STATIC_RESOURCES: u32 = 2;
const LISTENERS: u32 = 1;
pub(super) const CLUSTERS: u32 = 2;

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &StaticResources, bytes: &Arc<[u8]>) -> (Vec<StaticCluster>, Vec<StaticListener>) {
    let encoded = items(bytes, CLUSTERS);
    declare(cx, &encoded);
    let clusters = cx.each("clusters", &encoded, |cx, encoded| {
        let cluster = match Cluster::decode(*encoded) {
            Ok(cluster) => cluster,
            Err(why) => {
                cx.error(nuncio_api::codes::TOO_DEEP, why.to_string());
                return None;
            }
        };
        let config = Arc::new(crate::clusters::compile(cx, &cluster));
        Some(StaticCluster { config, bytes: Encoded::part(bytes, encoded) })
    });
    let mut encoded = items(bytes, LISTENERS).into_iter();
    let listeners = cx.each("listeners", &from.listeners, |cx, listener| {
        let bytes = Encoded::part(bytes, encoded.next().unwrap_or_default());
        let config = crate::listeners::compile(cx, listener, Digest::of(&bytes))?;
        Some(StaticListener { path: cx.path(), named: !listener.name.is_empty(), config, bytes })
    });
    let listeners = last_of_each_name(cx, listeners);
    clashing_addresses(cx, &listeners);
    (clusters, listeners)
}

/// The encoded items of a list of the static resources, in order.
fn items(bootstrap: &[u8], list: u32) -> Vec<&[u8]> {
    let statics = Reader::new(bootstrap).filter(|(number, _)| *number == STATIC_RESOURCES);
    let fields = statics.flat_map(|(_, statics)| Reader::new(statics.bytes()));
    fields.filter(|(number, _)| *number == list).map(|(_, item)| item.bytes()).collect()
}

/// Makes all clusters known before anything refers to them.
fn declare(cx: &mut CompileCx<'_>, encoded: &[&[u8]]) {
    for (index, encoded) in encoded.iter().enumerate() {
        let Ok(cluster) = Cluster::decode(*encoded) else { continue };
        cx.item("clusters", index, |cx| {
            if let Some(first) = cx.declare_cluster(&cluster.name, crate::clusters::is_eds_over_api(&cluster)) {
                let name = &cluster.name;
                cx.at("name", |cx| {
                    cx.error(codes::DUPLICATE_NAME, format!("a cluster `{name}` is declared before"))
                        .label("declared again here")
                        .also(format!("{first}.name"), "first declared here")
                        .envoy(format!("cluster manager: duplicate cluster '{name}'"));
                });
            }
        });
    }
}

/// A later listener of a name takes the place of an earlier one, as an update would.
fn last_of_each_name(cx: &mut CompileCx<'_>, listeners: Vec<StaticListener>) -> Vec<StaticListener> {
    let mut kept: Vec<StaticListener> = Vec::with_capacity(listeners.len());
    let mut places: HashMap<Arc<str>, usize> = HashMap::new();
    for listener in listeners {
        let name = listener.config.name.clone();
        let earlier = places.get(&name).copied().filter(|_| listener.named);
        let Some(earlier) = earlier else {
            places.insert(name, kept.len());
            kept.push(listener);
            continue;
        };
        let text = format!("another listener is called `{name}`: this one takes its place");
        let mut finding = crate::Finding::new(crate::Severity::Warning, codes::DUPLICATE_NAME, format!("{}.name", listener.path), text);
        finding.also(format!("{}.name", kept[earlier].path), "this one is never opened");
        cx.push(finding);
        kept[earlier] = listener;
    }
    kept
}

fn clashing_addresses(cx: &mut CompileCx<'_>, listeners: &[StaticListener]) {
    // Datagrams and connections do not get into each other's way.
    let mut taken: HashMap<(bool, nuncio_rt::Address), usize> = HashMap::new();
    for (index, listener) in listeners.iter().enumerate() {
        for address in listener.config.addresses.iter().filter(|a| !a.any_port()) {
            let Some(first) = taken.insert((listener.config.socket.datagrams, address.address()), index).filter(|first| *first != index) else { continue };
            let (name, first) = (&listener.config.name, &listeners[first].path);
            let path = listener.path.clone();
            let text = format!("another listener has the address {address} already");
            let envoy = format!(
                "error adding listener: '{name}' has duplicate address '{address}' as existing listener, to check if the listener has \
                 duplicated addresses with other listeners or 'enable_reuse_port' is set to 'false' for the listener"
            );
            let mut finding = crate::Finding::new(crate::Severity::Error, codes::DUPLICATE_ADDRESS, format!("{path}.address"), text);
            finding.envoy(envoy).also(format!("{first}.address"), "it has it");
            cx.push(finding);
        }
    }
}
