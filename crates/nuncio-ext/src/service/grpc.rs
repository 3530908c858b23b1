//! gRPC services in our clusters (`GrpcService`): one message there and one back, or a stream of them both ways.
//!
//! `google_grpc` brings a client with its own connections, which Nuncio has not: such a service is refused when starting.

use super::grpc_stream::GrpcStream;
use crate::read;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_codec::headers::{HeaderMap, HeaderName, Known};
use nuncio_core::format::Format;
use nuncio_core::{BuildCx, ClientFailure, ClientRequest, ClientResponse, ClientRetry, ConfigError, LocalFuture, StreamCx, StreamRequest};
use core::grpc_service::{EnvoyGrpc, TargetSpecifier};
use prost::Message;
use std::{sync::Arc, time::Duration};

/// Bytes before each message: a flag and its length.
pub(super) const PREFIX: usize = 5;

/// Statuses of gRPC (google.rpc.Code) that calls fail with here.
pub mod status {
    /// The peer did not say how it went.
    pub const UNKNOWN: u32 = 2;
    /// The message is longer than what is taken.
    pub const RESOURCE_EXHAUSTED: u32 = 8;
    /// What came is no message.
    pub const INTERNAL: u32 = 13;
    /// There is nobody to ask.
    pub const UNAVAILABLE: u32 = 14;
}

/// A service.
#[derive(Debug)]
pub struct GrpcService {
    cluster: Arc<str>,
    authority: Box<str>,
    timeout: Duration,
    metadata: Box<[(HeaderName, Format)]>,
    retry: Option<Arc<ClientRetry>>,
    plain: bool,
    max_message_bytes: usize,
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcFailure {
    /// gRPC's status.
    pub status: u32,
    /// What was said.
    pub message: String,
    /// Why, where no host has said it.
    pub details: std::borrow::Cow<'static, str>,
}

impl GrpcFailure {
    pub(super) fn new(status: u32, message: &str) -> GrpcFailure {
        GrpcFailure { status, message: message.to_owned(), details: std::borrow::Cow::Borrowed("") }
    }
}

impl GrpcService {
    /// Reads the message in `field`. Calls may take `default_timeout` unless it says otherwise.
    pub fn read(field: &str, from: &core::GrpcService, default_timeout: Duration, cx: &mut BuildCx<'_>) -> Result<GrpcService, ConfigError> {
        let core::GrpcService { timeout, initial_metadata, retry_policy, target_specifier } = from;
        let none = EnvoyGrpc::default();
        let envoy = match target_specifier {
            Some(TargetSpecifier::EnvoyGrpc(envoy)) => envoy,
            Some(TargetSpecifier::GoogleGrpc(_)) => {
                let text = "is not built: name a cluster in `envoy_grpc` instead";
                cx.unsafe_without.push(ConfigError::at(format!("{field}.google_grpc"), text));
                &none
            }
            None => return Err(ConfigError::at(field, "names no service")),
        };
        let EnvoyGrpc { cluster_name, authority, retry_policy: of_envoy, max_receive_message_length, skip_envoy_headers } = envoy;
        let mut metadata = Vec::with_capacity(initial_metadata.len());
        for (index, core::HeaderValue { key, value, raw_value }) in initial_metadata.iter().enumerate() {
            let at = |error: ConfigError| ConfigError::at(format!("{field}.initial_metadata[{index}]"), error.message);
            let raw = String::from_utf8_lossy(raw_value);
            let text = if value.is_empty() { &raw } else { value.as_str() };
            metadata.push((read::header_name(key).map_err(at)?, read::format(text, &mut cx.warnings).map_err(at)?));
        }
        let retry = retry_policy.as_ref().or(of_envoy.as_ref());
        Ok(GrpcService {
            cluster: cluster_name.as_str().into(),
            authority: if authority.is_empty() { cluster_name.as_str().into() } else { authority.as_str().into() },
            timeout: timeout.as_ref().map_or(default_timeout, read::duration),
            metadata: metadata.into(),
            retry: super::retry(&format!("{field}.retry_policy"), retry, &mut cx.warnings),
            plain: *skip_envoy_headers,
            max_message_bytes: max_receive_message_length.map_or(0, |most| most as usize),
        })
    }

    /// Calls may take this long, whatever the message says.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Calls a method (`/package.Service/Method`).
    pub fn call<A: Message + Default + 'static>(&self, cx: &StreamCx, method: &str, question: &impl Message) -> LocalFuture<Result<A, GrpcFailure>> {
        let Some(client) = cx.worker.http_client() else {
            return Box::pin(std::future::ready(Err(no_client())));
        };
        let mut head = self.head(cx, method);
        if !self.timeout.is_zero() {
            head.insert("grpc-timeout", timeout_text(self.timeout));
        }
        let sent = client.send(ClientRequest {
            cluster: self.cluster.clone(),
            head,
            body: framed(question),
            timeout: self.timeout,
            retry: self.retry.clone(),
            plain: self.plain,
            forwarded_for: true,
            max_response_bytes: if self.max_message_bytes == 0 { 0 } else { self.max_message_bytes + PREFIX },
        });
        Box::pin(async move { answer(sent.await) })
    }

    /// Begins a call of a method that takes messages one after another, and answers with such. It has no timeout: whoever
    /// wants one drops it.
    ///
    /// # Errors
    /// There is no such cluster.
    pub fn open<A: Message + Default>(&self, cx: &StreamCx, method: &str) -> Result<GrpcStream<A>, GrpcFailure> {
        self.open_with(cx, method, &[])
    }

    /// The same with metadata of the caller's.
    ///
    /// # Errors
    /// There is no such cluster.
    pub fn open_with<A: Message + Default>(&self, cx: &StreamCx, method: &str, metadata: &[(HeaderName, Vec<u8>)]) -> Result<GrpcStream<A>, GrpcFailure> {
        let client = cx.worker.http_client().ok_or_else(no_client)?;
        let mut head = self.head(cx, method);
        for (name, value) in metadata {
            head.append(name, value);
        }
        let stream = client.open(StreamRequest {
            cluster: self.cluster.clone(),
            head,
            timeout: Duration::ZERO,
            retry: self.retry.clone(),
            plain: self.plain,
            forwarded_for: true,
        });
        Ok(GrpcStream::new(stream.map_err(failure)?, self.max_message_bytes))
    }

    /// Calls are tried again like this, whatever the message says.
    pub fn set_retry(&mut self, retry: Option<Arc<ClientRetry>>) {
        self.retry = retry;
    }

    /// The cluster it is in.
    pub fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    fn head(&self, cx: &StreamCx, method: &str) -> HeaderMap {
        let mut head = HeaderMap::default();
        head.insert(Known::Method, "POST");
        head.insert(Known::Scheme, "http");
        head.insert(Known::Authority, &*self.authority);
        head.insert(Known::Path, method);
        head.insert(Known::Te, "trailers");
        head.insert(Known::ContentType, "application/grpc");
        for (name, value) in &self.metadata {
            let mut text = Vec::new();
            value.write(cx, &mut text);
            head.append(name, text);
        }
        head
    }
}

fn no_client() -> GrpcFailure {
    GrpcFailure::new(status::UNAVAILABLE, "no client")
}

/// As `grpc-timeout` tells it: at most eight digits and a unit.
fn timeout_text(timeout: Duration) -> String {
    let ms = timeout.as_millis();
    let units = [(1, 'm'), (1000, 'S'), (60_000, 'M'), (3_600_000, 'H')];
    let (unit, letter) = units.into_iter().find(|(unit, _)| ms / unit < 100_000_000).unwrap_or((3_600_000, 'H'));
    format!("{}{letter}", (ms / unit).min(99_999_999))
}

/// A message with its prefix.
pub(super) fn framed(message: &impl Message) -> Vec<u8> {
    let len = message.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX + len);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&message.encode_to_vec());
    bytes
}

/// What a client's failure is to gRPC.
pub(super) fn failure(failure: ClientFailure) -> GrpcFailure {
    match failure {
        ClientFailure::NoCluster => GrpcFailure::new(status::UNAVAILABLE, "Cluster not available"),
        ClientFailure::Reset => GrpcFailure::new(status::INTERNAL, ""),
        ClientFailure::TooLong => GrpcFailure::new(status::RESOURCE_EXHAUSTED, ""),
    }
}

/// How a call ended: as its trailers tell, or its head, or else HTTP's status.
pub(super) fn outcome(head: &HeaderMap, trailers: &HeaderMap) -> (u32, String) {
    let told = |map: &HeaderMap| {
        let code = map.get_str(Known::GrpcStatus)?.parse::<u32>().unwrap_or(status::UNKNOWN);
        Some((code, map.get_str(Known::GrpcMessage).unwrap_or_default().to_owned()))
    };
    let http = head.status().unwrap_or(0);
    told(trailers).or_else(|| told(head)).unwrap_or_else(|| (nuncio_core::grpc::status_of_http(http), String::new()))
}

fn answer<A: Message + Default>(came: Result<ClientResponse, ClientFailure>) -> Result<A, GrpcFailure> {
    let came = came.map_err(failure)?;
    let (code, message) = outcome(&came.head, &came.trailers);
    if code != 0 {
        return Err(GrpcFailure::new(code, &message));
    }
    let broken = || GrpcFailure::new(status::INTERNAL, "");
    let (prefix, rest) = came.body.split_first_chunk::<PREFIX>().ok_or_else(broken)?;
    let [flag, len @ ..] = *prefix;
    let message = rest.get(..u32::from_be_bytes(len) as usize).filter(|_| flag == 0).ok_or_else(broken)?;
    A::decode(message).map_err(|_| broken())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &[u8], status: Option<&str>) -> ClientResponse {
        let mut came = ClientResponse { body: body.to_vec(), ..ClientResponse::default() };
        came.head.set_status(200);
        if let Some(status) = status {
            came.trailers.insert(Known::GrpcStatus, status);
        }
        came
    }

    #[test]
    fn an_answer_is_one_whole_message_and_a_good_status() {
        let hello = "hello".to_owned();
        assert_eq!(answer::<String>(Ok(response(&framed(&hello), Some("0")))), Ok(hello.clone()));
        let code = |came: ClientResponse| answer::<String>(Ok(came)).map_err(|failure| failure.status);
        assert_eq!(code(response(&framed(&hello), None)), Err(status::UNKNOWN));
        assert_eq!(code(response(&framed(&hello), Some("7"))), Err(7));
        assert_eq!(code(response(&framed(&hello)[..6], Some("0"))), Err(status::INTERNAL));
        assert_eq!(code(response(b"\x01\0\0\0\0", Some("0"))), Err(status::INTERNAL), "compressed");
        assert_eq!(code(response(b"", Some("0"))), Err(status::INTERNAL));
        assert_eq!(answer::<String>(Err(ClientFailure::NoCluster)).map_err(|f| f.status), Err(status::UNAVAILABLE));
    }

    #[test]
    fn timeouts_are_told_in_eight_digits() {
        assert_eq!(timeout_text(Duration::from_millis(200)), "200m");
        assert_eq!(timeout_text(Duration::from_secs(200_000)), "200000S");
    }
}
