//! What `GrpcJsonTranscoder` says: types, methods, how JSON is read and written.

use crate::read;
use crate::transcoding::{
    decode,
    descriptors::{Broken, Kind, Known, Method, Pool},
    rules::{HttpRule, Pattern},
    template::{Matcher, Unescape},
};
use nuncio_api::envoy::extensions::filters::http::grpc_json_transcoder::v3 as proto;
use nuncio_core::{ConfigError, FilterConfig};
use std::sync::Arc;

/// The settings, of the filter or of a route; `None` where it is off.
pub(super) type Settings = Option<Arc<Transcoding>>;

/// Everything that requests are transcoded by.
#[derive(Debug)]
pub(super) struct Transcoding {
    pub(super) pool: Pool,
    pub(super) methods: Vec<Called>,
    pub(super) matcher: Matcher,
    pub(super) print: decode::Options,
    pub(super) newline_delimited: bool,
    pub(super) sse_delimited: bool,
    pub(super) match_incoming_route: bool,
    pub(super) ignore_unknown: bool,
    pub(super) capture_unknown: bool,
    /// The type that errors are written as, where they are.
    pub(super) status: Option<usize>,
    pub(super) validation: proto::grpc_json_transcoder::RequestValidationOptions,
    pub(super) fold_enums: bool,
    pub(super) max_request: Option<usize>,
    pub(super) max_response: Option<usize>,
}

/// A method that requests lead to.
#[derive(Debug)]
pub(super) struct Called {
    /// `/pkg.Service/Method`
    pub(super) path: String,
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) client_streaming: bool,
    pub(super) server_streaming: bool,
    /// Where its request is a `google.api.HttpBody`: the fields on the way to it.
    pub(super) request_body: Option<Vec<u32>>,
    /// The same of its response.
    pub(super) response_body: Option<Vec<u32>>,
}

fn wrong(message: impl std::fmt::Display) -> ConfigError {
    ConfigError::at("", format!("transcoding_filter: {message}"))
}

fn broken(broken: Broken) -> ConfigError {
    wrong(match broken {
        Broken::Parse => "Unable to parse proto descriptor",
        Broken::Build => "Unable to build proto descriptor pool",
    })
}

/// Reads the settings.
pub(super) fn read(config: FilterConfig<'_>) -> Result<Settings, ConfigError> {
    use proto::grpc_json_transcoder::{DescriptorSet, PrintOptions, UrlUnescapeSpec};
    let from: proto::GrpcJsonTranscoder = read::message(config)?;
    if from.services.is_empty() {
        return Ok(None);
    }
    let mut pool = match &from.descriptor_set {
        Some(DescriptorSet::ProtoDescriptor(path)) => {
            let bytes = std::fs::read(path).map_err(|error| ConfigError::at("proto_descriptor", format!("cannot read {path}: {error}")))?;
            Pool::new(&bytes).map_err(broken)?
        }
        Some(DescriptorSet::ProtoDescriptorBin(bytes)) => Pool::new(bytes).map_err(broken)?,
        None => return Err(wrong("descriptor not set")),
    };
    if from.convert_grpc_status {
        pool.add_status().map_err(broken)?;
    }
    let mut matcher = Matcher::default();
    matcher.unescape = match UrlUnescapeSpec::try_from(from.url_unescape_spec) {
        Ok(UrlUnescapeSpec::AllCharactersExceptSlash) => Unescape::AllButSlash,
        Ok(UrlUnescapeSpec::AllCharacters) => Unescape::All,
        Ok(UrlUnescapeSpec::AllCharactersExceptReserved) | Err(_) => Unescape::AllButReserved,
    };
    matcher.plus = from.query_param_unescape_plus;
    matcher.any_verb = from.match_unregistered_custom_verb;
    matcher.ignored = from.ignored_query_parameters.into_iter().collect();
    let mut methods = Vec::new();
    for name in &from.services {
        let service = pool.service(name).ok_or_else(|| wrong(format!("Could not find '{name}' in the proto descriptor")))?;
        for method in service {
            let rule = match &method.rule {
                Some(rule) => rule.clone(),
                None if from.auto_mapping => {
                    let pattern = Some(Pattern::Post(format!("/{name}/{}", method.name)));
                    HttpRule { pattern, body: "*".to_owned(), ..HttpRule::default() }
                }
                None => HttpRule::default(),
            };
            let called = called(&pool, method, &rule).map_err(|error| wrong(format!("Cannot register '{}': {error}", method.full_name())))?;
            if !matcher.register(&rule, methods.len()) {
                return Err(wrong(format!("Cannot register '{}' to path matcher", method.full_name())));
            }
            methods.push(called);
        }
    }
    let PrintOptions {
        add_whitespace,
        always_print_primitive_fields,
        always_print_enums_as_ints,
        preserve_proto_field_names,
        stream_newline_delimited,
        stream_sse_style_delimited,
    } = from.print_options.unwrap_or_default();
    Ok(Some(Arc::new(Transcoding {
        status: pool.message("google.rpc.Status").filter(|_| from.convert_grpc_status),
        pool,
        methods,
        matcher,
        print: decode::Options {
            spaced: add_whitespace,
            defaults: always_print_primitive_fields,
            enums_as_ints: always_print_enums_as_ints,
            proto_names: preserve_proto_field_names,
        },
        newline_delimited: stream_newline_delimited,
        sse_delimited: stream_sse_style_delimited,
        match_incoming_route: from.match_incoming_request_route,
        ignore_unknown: from.ignore_unknown_query_parameters,
        capture_unknown: from.capture_unknown_query_parameters,
        validation: from.request_validation_options.unwrap_or_default(),
        fold_enums: from.case_insensitive_enum_parsing,
        max_request: from.max_request_body_size.map(|bytes| bytes as usize),
        max_response: from.max_response_body_size.map(|bytes| bytes as usize),
    })))
}

/// The fields on the way to a message's part, and whether that is a `google.api.HttpBody`.
fn part(pool: &Pool, message: usize, path: &str) -> Result<(Vec<u32>, bool), String> {
    let names: Vec<String> = path.split('.').filter(|name| !name.is_empty() && *name != "*").map(str::to_owned).collect();
    let fields = crate::transcoding::bindings::resolve(pool, message, &names)?;
    let of = match fields.last() {
        None => pool.messages.get(message),
        Some(field) => match field.kind {
            Kind::Message(at) => pool.messages.get(at),
            _ => None,
        },
    };
    let is_body = of.is_some_and(|of| of.known == Some(Known::HttpBody));
    Ok((fields.iter().map(|field| field.number).collect(), is_body))
}

fn called(pool: &Pool, method: &Method, rule: &HttpRule) -> Result<Called, String> {
    let (request, request_is_body) = part(pool, method.input, &rule.body)?;
    let (response, response_is_body) = part(pool, method.output, &rule.response_body)?;
    if !response.is_empty() && !response_is_body {
        return Err(format!("Setting \"response_body\" is not supported yet for non-HttpBody fields: {}", method.full_name()));
    }
    Ok(Called {
        path: format!("/{}/{}", method.service, method.name),
        input: method.input,
        output: method.output,
        client_streaming: method.client_streaming,
        server_streaming: method.server_streaming,
        request_body: request_is_body.then_some(request),
        response_body: response_is_body.then_some(response),
    })
}
