//! What a matcher looks at, read.

use super::{Place, message, type_of};
use crate::read::{header_name, within};
use nuncio_api::envoy::extensions::matching::common_inputs::{environment_variable::v3 as environment, network::v3 as network};
use nuncio_api::envoy::r#type::matcher::v3 as http;
use nuncio_api::xds::core::v3::TypedExtensionConfig;
use nuncio_core::matching::tree::Input;
use nuncio_core::{ConfigError, NameKind};
use network::dynamic_metadata_input::{PathSegment, path_segment::Segment};

const NETWORK: &str = "envoy.extensions.matching.common_inputs.network.v3.";
const SSL: &str = "envoy.extensions.matching.common_inputs.ssl.v3.";
const ENVIRONMENT: &str = "envoy.extensions.matching.common_inputs.environment_variable.v3.Config";
const CEL: &str = "xds.type.matcher.v3.HttpAttributesCelMatchInput";
const HTTP: &str = "envoy.type.matcher.v3.Http";

/// An input; `None` if it is not built.
pub(super) fn read(from: &TypedExtensionConfig, place: Place) -> Result<Option<Input>, ConfigError> {
    let kind = type_of(from);
    if let Some(sentence) = refusal(&from.name, kind, place) {
        return Err(ConfigError::at("", sentence));
    }
    let field = |name: &str, field: &str| header_name(name).map_err(within(field)).map_err(within("typed_config"));
    let in_header = |name: &str| field(name, "header_name");
    Ok(Some(if let Some(of) = kind.strip_prefix(HTTP) {
        match of {
            "RequestHeaderMatchInput" => Input::RequestHeader(in_header(&message::<http::HttpRequestHeaderMatchInput>(from)?.header_name)?),
            "RequestTrailerMatchInput" => Input::RequestTrailer(in_header(&message::<http::HttpRequestTrailerMatchInput>(from)?.header_name)?),
            "ResponseHeaderMatchInput" => Input::ResponseHeader(in_header(&message::<http::HttpResponseHeaderMatchInput>(from)?.header_name)?),
            "ResponseTrailerMatchInput" => Input::ResponseTrailer(in_header(&message::<http::HttpResponseTrailerMatchInput>(from)?.header_name)?),
            "RequestQueryParamMatchInput" => {
                Input::QueryParameter(message::<http::HttpRequestQueryParamMatchInput>(from)?.query_param.into_bytes().into())
            }
            "ResponseStatusCodeMatchInput" => Input::Status,
            "ResponseStatusCodeClassMatchInput" => Input::StatusClass,
            "ResponseLocalReplyMatchInput" => Input::LocalReply,
            _ => return Ok(None),
        }
    } else if let Some(of) = kind.strip_prefix(NETWORK) {
        match of {
            "DestinationIPInput" => Input::DestinationIp,
            "DestinationPortInput" => Input::DestinationPort,
            "SourceIPInput" => Input::SourceIp,
            "SourcePortInput" => Input::SourcePort,
            "DirectSourceIPInput" => Input::DirectSourceIp,
            "SourceTypeInput" => Input::SourceType,
            "ServerNameInput" => Input::ServerName,
            "TransportProtocolInput" => Input::TransportProtocol,
            "ApplicationProtocolInput" => Input::ApplicationProtocol,
            "FilterStateInput" => {
                let network::FilterStateInput { key, field } = message(from)?;
                // Objects are texts here, and have no fields.
                if field.is_empty() { Input::FilterState(key.into()) } else { return Ok(None) }
            }
            "DynamicMetadataInput" => {
                let network::DynamicMetadataInput { filter, path } = message(from)?;
                let path = path.into_iter().map(|PathSegment { segment }| match segment {
                    Some(Segment::Key(key)) => Ok(key.into()),
                    None => Err(ConfigError::at("typed_config.path", "a part of the path is empty")),
                });
                Input::Metadata(filter.into(), path.collect::<Result<_, _>>()?)
            }
            _ => return Ok(None),
        }
    } else if let Some(of) = kind.strip_prefix(SSL) {
        match of {
            "UriSanInput" => Input::Names(NameKind::Uri),
            "DnsSanInput" => Input::Names(NameKind::Dns),
            "SubjectInput" => Input::Subject,
            _ => return Ok(None),
        }
    } else {
        match kind {
            CEL => Input::Attributes,
            ENVIRONMENT => {
                let environment::Config { name } = message(from)?;
                Input::Fixed(std::env::var_os(name).map(|value| value.into_encoded_bytes().into()))
            }
            _ => return Ok(None),
        }
    }))
}

/// Envoy's sentence where an input may not stand there.
fn refusal(name: &str, kind: &str, place: Place) -> Option<String> {
    let on_chains = matches!(kind.strip_prefix(NETWORK), Some("TransportProtocolInput" | "ApplicationProtocolInput"));
    let on_requests = kind.starts_with(HTTP) || kind == CEL || kind.strip_prefix(NETWORK) == Some("DynamicMetadataInput");
    if if matches!(place, Place::Listener | Place::Network) { on_requests } else { on_chains } {
        return Some(format!("Didn't find a registered implementation for '{name}' with type URL: '{kind}'"));
    }
    let request_header = kind.strip_prefix(HTTP) == Some("RequestHeaderMatchInput");
    let anywhere = kind == ENVIRONMENT || kind.strip_prefix(NETWORK) == Some("FilterStateInput");
    match place {
        Place::Routes if !(request_header || anywhere) => {
            Some(format!("Route table can only match on request headers, saw type.googleapis.com/{kind}"))
        }
        Place::Rbac if (kind.starts_with(HTTP) && !request_header) || kind.strip_prefix(NETWORK) == Some("SourceTypeInput") => {
            Some(format!("RBAC HTTP filter cannot match on 'type.googleapis.com/{kind}'"))
        }
        _ => None,
    }
}
