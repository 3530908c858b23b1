//! `envoy.filters.http.credential_injector`: requests get a credential that is kept here.
//!
//! Credentials are static secrets (`Generic`). Those that a token service gives out (`OAuth2`), and secrets from a control plane,
//! are not built: nothing is started with them.

use crate::read::{self, within};
use nuncio_api::envoy::config::core::v3::TypedExtensionConfig;
use nuncio_api::envoy::extensions::filters::http::credential_injector::v3 as proto;
use nuncio_api::envoy::extensions::http::injected_credentials::generic::v3::Generic;
use nuncio_api::envoy::extensions::transport_sockets::tls::v3::{GenericSecret, Secret, secret::Type};
use nuncio_codec::headers::{HeaderName, Known};
use nuncio_core::{BuildCx, ConfigError, FilterConfig, HttpFilter, HttpFilterEntry, LocalReply, Phases, Posture, Step, StreamCx};
use nuncio_stats::{Scope, stats_table};
use prost::Message;
use std::sync::Arc;

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.credential_injector",
    message: "envoy.extensions.filters.http.credential_injector.v3.CredentialInjector",
    route_message: "",
    posture: Posture::UntrustedBoth,
    build,
    route: super::no_route_config,
};

stats_table! {
    /// `http.<prefix>.credential_injector.`
    pub CREDENTIAL_INJECTOR: "credential_injector" {
        /// Requests that have a credential already.
        counter ALREADY_EXISTS = "already_exists",
        /// Requests that there was no credential for.
        counter FAILED = "failed",
        /// Requests that were given the credential.
        counter INJECTED = "injected",
    }
}

#[derive(Debug)]
struct CredentialInjector {
    header: HeaderName,
    /// Empty where there is none.
    value: Box<[u8]>,
    overwrite: bool,
    goes_without: bool,
    stats: Arc<Scope>,
}

fn build(config: FilterConfig<'_>, cx: &mut BuildCx<'_>) -> Result<Arc<dyn HttpFilter>, ConfigError> {
    let proto::CredentialInjector { overwrite, allow_request_without_credential: goes_without, credential } = read::message(config)?;
    let credential = credential.ok_or_else(|| ConfigError::at("credential", "is missing"))?;
    let (header, value) = generic(&credential, cx).map_err(within("credential"))?;
    let stats = cx.stats.scope(&format!("{}credential_injector.", cx.stat_prefix), &CREDENTIAL_INJECTOR);
    Ok(Arc::new(CredentialInjector { header, value, overwrite, goes_without, stats }))
}

/// The header and its value.
fn generic(from: &TypedExtensionConfig, cx: &mut BuildCx<'_>) -> Result<(HeaderName, Box<[u8]>), ConfigError> {
    const GENERIC: &str = "envoy.extensions.http.injected_credentials.generic.v3.Generic";
    let authorization = || read::header_name(Known::Authorization.as_str());
    let Some(any) = from.typed_config.as_ref().filter(|any| any.type_url.rsplit('/').next() == Some(GENERIC)) else {
        cx.unsafe_without.push(ConfigError::at("credential", format!("the credential `{}` is not built yet", from.name)));
        return Ok((authorization()?, Box::default()));
    };
    let Generic { credential, header, header_value_prefix } = Generic::decode(&*any.value).map_err(|error| ConfigError::at("", error.to_string()))?;
    let header = match &*header {
        "" => authorization()?,
        name => read::header_name(name).map_err(within("typed_config.header"))?,
    };
    let config = credential.ok_or_else(|| ConfigError::at("typed_config.credential", "is missing"))?;
    if config.sds_config.is_some() {
        cx.unsafe_without.push(ConfigError::at("credential.typed_config.credential.sds_config", "is not built yet"));
        return Ok((header, Box::default()));
    }
    let secret = cx.generic_secrets.iter().find(|(name, _)| *name == config.name).and_then(|(_, bytes)| Secret::decode(&**bytes).ok());
    let source = match secret.and_then(|secret| secret.r#type) {
        Some(Type::GenericSecret(GenericSecret { secret: Some(source), secrets: _ })) => source,
        _ => return Err(ConfigError::at("typed_config.credential.name", format!("there is no static secret `{}`", config.name))),
    };
    let text = read::data_source(&source).map_err(within("typed_config.credential"))?;
    let value = if text.is_empty() { text } else { [header_value_prefix.as_bytes(), &text].concat() };
    Ok((header, value.into()))
}

impl HttpFilter for CredentialInjector {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS
    }

    fn request_headers(&self, cx: &mut StreamCx, _end: bool) -> Step {
        let lane = cx.worker.lane;
        if !self.overwrite && cx.request.contains(&self.header) {
            self.stats.inc(lane, ALREADY_EXISTS);
            return Step::Continue;
        }
        if self.value.is_empty() {
            self.stats.inc(lane, FAILED);
            if self.goes_without {
                return Step::Continue;
            }
            return Step::reply(LocalReply::new(401, "failed_to_inject_credential").body("Failed to inject credential."));
        }
        cx.request.insert(&self.header, &self.value);
        self.stats.inc(lane, INJECTED);
        Step::Continue
    }
}
