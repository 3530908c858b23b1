//! The two kinds of services, and what their answers mean.

use super::check::{self, Body, PARTIAL_BODY};
use super::config::{Settings, Told};
use super::verdict::{Changes, Header, Refusal, Verdict};
use crate::read;
use crate::service::grpc::GrpcService;
use nuncio_api::envoy::config::core::v3::{HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction};
use nuncio_api::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse};
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::format::Format;
use nuncio_core::matching::TextMatch;
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{ClientFailure, ClientRequest, ClientResponse, ClientRetry, LocalFuture, StreamCx};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// The method of gRPC services.
pub(crate) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// Names request headers to remove, in answers of plain HTTP services.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";

/// A service.
#[derive(Debug)]
pub(super) enum Service {
    Grpc(GrpcService, Told),
    Http(Box<HttpService>),
}

/// `HttpService`
#[derive(Debug)]
pub(super) struct HttpService {
    pub(super) cluster: Arc<str>,
    pub(super) timeout: Duration,
    pub(super) path_prefix: Box<str>,
    pub(super) path_override: Box<str>,
    pub(super) added: Box<[(HeaderName, Format)]>,
    pub(super) retry: Option<Arc<ClientRetry>>,
    pub(super) told: Told,
    pub(super) upstream: Box<[TextMatch]>,
    pub(super) append: Box<[TextMatch]>,
    pub(super) client: Box<[TextMatch]>,
    pub(super) client_on_success: Box<[TextMatch]>,
    pub(super) metadata: Box<[TextMatch]>,
}

/// Asks a service about a request.
pub(super) fn ask(
    service: Arc<Service>,
    cx: &StreamCx,
    settings: &Settings,
    extensions: HashMap<String, String>,
    body: Option<Body>,
) -> LocalFuture<Verdict> {
    match &*service {
        Service::Grpc(grpc, told) => {
            let question = check::request(cx, settings, told, extensions, body.as_ref());
            let asked = grpc.call::<CheckResponse>(cx, CHECK, &question);
            Box::pin(async move { asked.await.map_or_else(|_| Verdict::Error(Refusal::default()), of_grpc) })
        }
        Service::Http(http) => {
            let Some(client) = cx.worker.http_client() else { return Box::pin(std::future::ready(Verdict::Error(Refusal::default()))) };
            let asked = client.send(http.request(cx, settings, body));
            let service = service.clone();
            Box::pin(async move {
                let came = asked.await;
                match &*service {
                    Service::Http(http) => http.verdict(came),
                    Service::Grpc(..) => Verdict::Error(Refusal::default()),
                }
            })
        }
    }
}

fn listed(list: &[TextMatch], name: &[u8]) -> bool {
    list.iter().any(|text| text.matches(name))
}

impl HttpService {
    fn request(&self, cx: &StreamCx, settings: &Settings, body: Option<Body>) -> ClientRequest {
        let mut head = HeaderMap::default();
        let bytes = body.as_ref().map_or(&[][..], |body| &body.bytes);
        for (name, value) in check::headers(cx, settings, &self.told) {
            match name {
                b"content-length" | b"transfer-encoding" => {}
                b":path" if !self.path_override.is_empty() => head.insert(Known::Path, &*self.path_override),
                b":path" => head.insert(Known::Path, [self.path_prefix.as_bytes(), value].concat()),
                _ => head.append(name, value),
            }
        }
        if !head.contains(Known::Scheme) {
            head.insert(Known::Scheme, "http");
        }
        head.set_with(Known::ContentLength, |v| v.decimal(bytes.len() as u64));
        if let Some(body) = &body {
            head.insert(PARTIAL_BODY, if body.partial { "true" } else { "false" });
        }
        for (name, value) in &self.added {
            let mut text = Vec::new();
            value.write(cx, &mut text);
            head.insert(name, text);
        }
        ClientRequest {
            cluster: self.cluster.clone(),
            head,
            body: body.map(|body| body.bytes).unwrap_or_default(),
            timeout: self.timeout,
            retry: self.retry.clone(),
            ..ClientRequest::default()
        }
    }

    fn verdict(&self, came: Result<ClientResponse, ClientFailure>) -> Verdict {
        let Ok(came) = came else { return Verdict::Error(Refusal::default()) };
        let status = came.head.status().unwrap_or(0);
        if status == 0 || (500..600).contains(&status) {
            return Verdict::Error(Refusal::default());
        }
        let fields = || came.head.iter().map(|field| (field.name, field.value)).filter(|(name, _)| !name.starts_with(b":"));
        let own = |(name, value): (&[u8], &[u8])| -> Header { (String::from_utf8_lossy(name).into_owned(), value.to_vec()) };
        let those = |list: &[TextMatch]| -> Vec<Header> { fields().filter(|(name, _)| listed(list, name)).map(own).collect() };
        let metadata = those(&self.metadata).into_iter();
        let metadata = metadata.map(|(name, value)| (name, MetadataValue::Text(String::from_utf8_lossy(&value).into_owned()))).collect();
        if status == 200 {
            let remove = came.head.get_str(TO_REMOVE).unwrap_or_default().split(',').map(str::trim);
            let response = those(&self.client_on_success).into_iter().map(|header| (HeaderAppendAction::AppendIfExistsOrAdd, header));
            return Verdict::Ok(Box::new(Changes {
                set: those(&self.upstream),
                add: those(&self.append),
                remove: remove.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                response: response.collect(),
                metadata,
                ..Changes::default()
            }));
        }
        // Without a list all are allowed; with one, those too that the status is nothing without.
        let allowed = |name: &[u8]| self.client.is_empty() || listed(&self.client, name) || matches!(name, b"www-authenticate" | b"location");
        let headers = fields().filter(|(name, _)| allowed(name)).map(own).collect();
        Verdict::Denied(Refusal { status, body: String::from_utf8_lossy(&came.body).into_owned(), headers, metadata })
    }
}

/// Name and value of an option, which says in the old way whether it appends.
fn header(option: &HeaderValueOption) -> (Option<bool>, Header) {
    let HeaderValue { key, value, .. } = option.header.clone().unwrap_or_default();
    #[allow(deprecated, reason = "services say it so")]
    let append = option.append;
    (append, (key.to_ascii_lowercase(), value.into_bytes()))
}

fn refusal(from: DeniedHttpResponse) -> Refusal {
    let DeniedHttpResponse { status, headers, body } = from;
    let status = status.and_then(|status| u16::try_from(status.code).ok()).unwrap_or(0);
    let headers = headers.iter().map(header).filter(|(append, _)| *append != Some(true)).map(|(_, header)| header);
    Refusal { status, body, headers: headers.collect(), ..Refusal::default() }
}

fn of_grpc(from: CheckResponse) -> Verdict {
    let CheckResponse { status, dynamic_metadata, http_response } = from;
    let metadata = dynamic_metadata.as_ref().map(read::fields).unwrap_or_default();
    let passes = status.is_none_or(|status| status.code == 0);
    if passes {
        let mut changes = match http_response {
            Some(HttpResponse::OkResponse(ok)) => changes(ok),
            _ => Changes::default(),
        };
        if changes.metadata.is_empty() {
            changes.metadata = metadata;
        }
        return Verdict::Ok(Box::new(changes));
    }
    match http_response {
        Some(HttpResponse::ErrorResponse(error)) => Verdict::Error(refusal(error)),
        Some(HttpResponse::DeniedResponse(denied)) => Verdict::Denied(Refusal { metadata, ..refusal(denied) }),
        _ => Verdict::Denied(Refusal { metadata, ..Refusal::default() }),
    }
}

fn changes(from: OkHttpResponse) -> Changes {
    #[allow(deprecated, reason = "goes before the other as long as services send it")]
    let OkHttpResponse { headers, headers_to_remove, dynamic_metadata, response_headers_to_add, query_parameters_to_set, query_parameters_to_remove } = from;
    let (append, set) = headers.iter().map(header).partition::<Vec<_>, _>(|(append, _)| *append == Some(true));
    let action = |option: &HeaderValueOption| match header(option).0 {
        Some(true) => HeaderAppendAction::AppendIfExistsOrAdd,
        Some(false) => HeaderAppendAction::OverwriteIfExistsOrAdd,
        None => option.append_action(),
    };
    Changes {
        set: set.into_iter().map(|(_, header)| header).collect(),
        append: append.into_iter().map(|(_, header)| header).collect(),
        add: Vec::new(),
        remove: headers_to_remove,
        response: response_headers_to_add.iter().map(|option| (action(option), header(option).1)).collect(),
        query_set: query_parameters_to_set.into_iter().map(|parameter| (parameter.key, parameter.value)).collect(),
        query_remove: query_parameters_to_remove,
        metadata: dynamic_metadata.as_ref().map(read::fields).unwrap_or_default(),
    }
}
