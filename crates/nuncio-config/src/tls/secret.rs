//! Where secrets come from: the bootstrap, or files that may change (`sds_config.path_config_source`).
//!
//! A context with secrets from files is compiled again whenever one of the files changes; then what is found wrong is why
//! the change is refused, and the old context stays.

use crate::codes;
use crate::context::{CompileCx, Mode, StaticSecret};
use nuncio_api::envoy::config::core::v3::{ConfigSource, PathConfigSource, config_source::ConfigSourceSpecifier};
use nuncio_api::envoy::extensions::transport_sockets::tls::v3 as proto;
use nuncio_api::envoy::service::discovery::v3::DiscoveryResponse;
use nuncio_api::{Document, Source, Syntax};
use nuncio_stats::Store;
use nuncio_tls::{Live, Made};
use prost::{Message as _, Name as _};
use proto::common_tls_context::ValidationContextType;
use std::sync::Arc;

/// A secret of the bootstrap or of a file. A static one that is not there was reported by whoever judges secrets.
pub(super) fn secret(cx: &mut CompileCx<'_>, config: &proto::SdsSecretConfig, kind: &str) -> Option<proto::secret::Type> {
    let proto::SdsSecretConfig { name, sds_config } = config;
    let Some(source) = sds_config else {
        let found = cx.static_secrets.iter().find(|secret| secret.kind == kind && secret.name == *name)?;
        return proto::Secret::decode(found.bytes.as_slice()).ok()?.r#type;
    };
    let Some(path) = path_of(source) else {
        cx.unsafe_without("sds_config");
        return None;
    };
    cx.tls_files.push(path.into());
    match read(name, path) {
        Ok(secret) => secret.r#type,
        Err(why) => {
            cx.error(codes::MISSING, why);
            None
        }
    }
}

/// The file of a source, if it is one.
#[allow(deprecated)]
fn path_of(source: &ConfigSource) -> Option<&str> {
    // A file is there or not, whatever the version and the patience for a first answer. A file that is reached by a link is
    // another one when the link is: the directory need not be watched.
    let ConfigSource { authorities: _, config_source_specifier, initial_fetch_timeout: _, resource_api_version: _ } = source;
    match config_source_specifier.as_ref()? {
        ConfigSourceSpecifier::Path(path) => Some(path),
        ConfigSourceSpecifier::PathConfigSource(PathConfigSource { path, watched_directory: _, poll_interval: _ }) => Some(path),
        ConfigSourceSpecifier::ApiConfigSource(_) | ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_) => None,
    }
}

/// The secret of this name in a file.
fn read(name: &str, path: &str) -> Result<proto::Secret, String> {
    let text = std::fs::read_to_string(path).map_err(|why| format!("{path}: {why}"))?;
    let first = |found: &[nuncio_api::Diagnostic]| found.iter().find(|d| d.is_error()).map(|d| d.message.clone());
    let document = Document::parse(Source::new(path, text), Syntax::of(path)).map_err(|found| first(&found).unwrap_or_default())?;
    let decoded = nuncio_api::decode::<DiscoveryResponse>(&document, &nuncio_api::Options { strict: false, allow_unknown: true });
    if let Some(why) = first(&decoded.diagnostics) {
        return Err(why);
    }
    let resources = decoded.message.unwrap_or_default().resources;
    if resources.is_empty() {
        return Err(format!("Missing SDS resources for {name} in onConfigUpdate()"));
    }
    let secrets = resources.iter().filter(|any| nuncio_api::any_type(any) == proto::Secret::full_name());
    let secrets: Vec<_> = secrets.filter_map(|any| proto::Secret::decode(any.value.as_slice()).ok()).collect();
    let of_name = secrets.iter().find(|secret| secret.name == name).cloned();
    of_name.ok_or_else(|| format!("Unexpected SDS secret (expecting {name}): {}", secrets.first().map_or("", |s| &s.name)))
}

/// Names of the secrets of a context that come from files.
pub(super) fn from_files(common: &proto::CommonTlsContext) -> Vec<String> {
    let validation = match &common.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => Some(config),
        Some(ValidationContextType::CombinedValidationContext(combined)) => combined.validation_context_sds_secret_config.as_ref(),
        _ => None,
    };
    let all = common.tls_certificate_sds_secret_configs.iter().chain(validation);
    all.filter(|config| config.sds_config.as_ref().is_some_and(|source| path_of(source).is_some())).map(|c| c.name.clone()).collect()
}

/// A context whose secrets come from files: compiled now, and whenever they change.
pub(super) fn live<T: 'static>(
    cx: &CompileCx<'_>,
    secrets: Vec<String>,
    identity: Vec<u8>,
    compile: impl Fn(&mut CompileCx<'_>) -> Option<T> + Send + Sync + 'static,
) -> Arc<Live<T>> {
    let (mode, known): (Mode, Vec<StaticSecret>) = (cx.mode, cx.static_secrets.clone());
    let make = move || {
        let mut cx = CompileCx::new(mode, Store::new(1), &[]);
        cx.static_secrets.clone_from(&known);
        let made = compile(&mut cx);
        let files = std::mem::take(&mut cx.tls_files);
        let why = || {
            let found = cx.findings().iter().find(|finding| finding.is_error());
            found.map_or_else(|| "it is not complete".to_owned(), |finding| if finding.envoy.is_empty() { finding.message.clone() } else { finding.envoy.clone() })
        };
        Made { context: made.ok_or_else(why), files }
    };
    Live::of_files(secrets, identity, Box::new(make))
}
