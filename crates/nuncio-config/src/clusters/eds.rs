//! Clusters whose endpoints come over EDS: from a file, so far. What a file says is read here, too.

use super::endpoints::{self, Names};
use crate::codes;
use crate::context::{CompileCx, Mode};
use crate::finding::Finding;
use crate::unbuilt;
use nuncio_api::envoy::config::cluster::v3 as proto;
use nuncio_api::envoy::config::core::v3::{ConfigSource, PathConfigSource, config_source::ConfigSourceSpecifier};
use nuncio_api::envoy::config::endpoint::v3::ClusterLoadAssignment;
use nuncio_api::envoy::service::discovery::v3::DiscoveryResponse;
use nuncio_api::{Document, Source, Syntax};
use nuncio_stats::Store;
use nuncio_upstream::config::{Discovery, EdsConfig};
use nuncio_upstream::{FileFault, ReadEndpoints};
use proto::cluster::EdsClusterConfig;
use prost::Name as _;
use std::time::Duration;

/// How often a file is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// `type: EDS` with its `eds_cluster_config`.
pub(super) fn of_cluster(cx: &mut CompileCx<'_>, cluster: &proto::Cluster) -> Discovery {
    let from = cluster.eds_cluster_config.as_ref().and_then(|config| Some((config, config.eds_config.as_ref()?)));
    let Some((EdsClusterConfig { eds_config: _, service_name }, source)) = from else {
        cx.at("type", |cx| {
            cx.error(codes::MISSING, "a cluster of type EDS needs eds_cluster_config.eds_config")
                .envoy("cannot create an EDS cluster without an EDS config");
        });
        return Discovery::Static;
    };
    let path = cx.at("eds_cluster_config", |cx| cx.at("eds_config", |cx| file(cx, source)));
    let Some((path, poll_interval)) = path else {
        return Discovery::Static;
    };
    let service_name = if service_name.is_empty() { &cluster.name } else { service_name };
    Discovery::Eds(Box::new(EdsConfig { service_name: service_name.as_str().into(), path: path.into(), poll_interval }))
}

/// The file of a source, if it is one.
#[allow(deprecated)]
fn file<'a>(cx: &mut CompileCx<'_>, source: &'a ConfigSource) -> Option<(&'a str, Duration)> {
    // A file is there or not, whatever the version and the patience for a first answer.
    let ConfigSource { authorities, config_source_specifier, initial_fetch_timeout: _, resource_api_version: _ } = source;
    let other = match config_source_specifier.as_ref()? {
        ConfigSourceSpecifier::Path(path) => return Some((path, POLL_INTERVAL)),
        ConfigSourceSpecifier::PathConfigSource(source) => {
            unbuilt!(cx, authorities);
            // A file that is reached by a link is another one when the link is: the directory need not be watched.
            let PathConfigSource { path, watched_directory: _, poll_interval } = source;
            return Some((path, cx.duration("poll_interval", poll_interval.as_ref()).unwrap_or(POLL_INTERVAL)));
        }
        ConfigSourceSpecifier::ApiConfigSource(_) => "api_config_source",
        ConfigSourceSpecifier::Ads(_) => "ads",
        ConfigSourceSpecifier::Self_(_) => "self",
    };
    cx.without_effect(other).note("the cluster has no hosts: its requests are answered 503");
    None
}

/// Reads files of endpoints as the configuration is read.
#[derive(Debug, Clone, Copy)]
pub struct EdsFiles {
    /// How strict to be.
    pub mode: Mode,
}

impl EdsFiles {
    /// What a cluster's file says.
    ///
    /// # Errors
    /// [`FileFault`] says why that is nothing.
    pub fn read(&self, cluster: &str, eds: &EdsConfig) -> Result<ReadEndpoints, FileFault> {
        let name = eds.path.display().to_string();
        let text = std::fs::read_to_string(&eds.path).map_err(|why| FileFault::Unreadable(why.to_string()))?;
        self.assignment(cluster, &eds.service_name, &name, text)
    }

    /// The assignment in a response for a service.
    fn assignment(&self, cluster: &str, service: &str, name: &str, text: String) -> Result<ReadEndpoints, FileFault> {
        let unreadable = |found: &[nuncio_api::Diagnostic]| {
            FileFault::Unreadable(found.iter().find(|d| d.is_error()).map_or_else(String::new, |d| d.message.clone()))
        };
        let document = Document::parse(Source::new(name, text), Syntax::of(name)).map_err(|found| unreadable(&found))?;
        let options = nuncio_api::Options { strict: self.mode.strict, allow_unknown: true };
        let decoded = nuncio_api::decode::<DiscoveryResponse>(&document, &options);
        let found = decoded.diagnostics.iter().find(|d| d.is_error());
        if let Some(found) = found {
            return Err(FileFault::Refused(found.message.clone()));
        }
        let Some(response) = decoded.message else { return Err(unreadable(&decoded.diagnostics)) };
        let DiscoveryResponse { version_info: version, resources, .. } = response;
        let [resource] = resources.as_slice() else {
            return match resources.len() {
                0 => Ok(ReadEndpoints { version, assignment: None, stale_after: None }),
                n => Err(FileFault::Refused(format!("Unexpected EDS resource length: {n}"))),
            };
        };
        if nuncio_api::schema::type_name(&resource.type_url) != ClusterLoadAssignment::full_name() {
            return Err(FileFault::Refused(format!("Unexpected EDS resource of type {}", resource.type_url)));
        }
        let assignment: ClusterLoadAssignment =
            prost::Message::decode(resource.value.as_slice()).map_err(|why: prost::DecodeError| FileFault::Refused(why.to_string()))?;
        if assignment.cluster_name != service {
            return Err(FileFault::Refused(format!("Unexpected EDS cluster (expecting {service}): {}", assignment.cluster_name)));
        }
        let owner = proto::Cluster { name: cluster.to_owned(), ..proto::Cluster::default() };
        let mut cx = CompileCx::new(self.mode, Store::new(1), &[]);
        let compiled = endpoints::compile(&mut cx, &owner, Names::Refused, &assignment);
        match cx.into_findings().iter().find(|finding| Finding::is_error(finding)) {
            Some(finding) => Err(FileFault::Refused(finding.message.clone())),
            None => {
                let stale_after = assignment.policy.as_ref().and_then(|policy| policy.endpoint_stale_after.as_ref());
                // Longer than zero is a rule of the message.
                let stale_after = stale_after.and_then(|after| Duration::try_from(*after).ok());
                Ok(ReadEndpoints { version, assignment: Some(compiled), stale_after })
            }
        }
    }
}
