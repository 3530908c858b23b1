//! `TunnelingConfig` → [`Tunneling`].

use crate::context::CompileCx;
use crate::{codes, routes, unbuilt};
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::RequestIdExtension;
use nuncio_api::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::TunnelingConfig;
use nuncio_codec::headers::{HeaderName, Known};
use nuncio_core::StreamCx;
use nuncio_core::format::Format;
use nuncio_core::matching::Side;
use nuncio_http::routes::HeaderMutations;
use nuncio_listen::tcp_proxy::{TunnelHeaders, TunnelRequestId, Tunneling};
use std::sync::Arc;

/// `headers_to_add`
#[derive(Debug)]
struct Headers(HeaderMutations);

impl TunnelHeaders for Headers {
    fn apply(&self, cx: &mut StreamCx) {
        self.0.apply(cx, Side::Request);
    }
}

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &TunnelingConfig) -> Option<Arc<Tunneling>> {
    let TunnelingConfig {
        hostname,
        use_post,
        headers_to_add,
        propagate_response_headers,
        post_path,
        propagate_response_trailers,
        request_id_extension,
        request_id_header,
        request_id_metadata_key,
        formatters,
    } = from;
    unbuilt!(cx, formatters);
    if !use_post && !post_path.is_empty() {
        cx.at("post_path", |cx| {
            cx.error(codes::CONFLICT, "a CONNECT request has no path: this is for use_post")
                .envoy("Can't set a post path when POST method isn't used");
        });
    }
    let hostname = cx.at("hostname", |cx| match Format::compile(hostname) {
        Ok((format, _)) => Some(format),
        Err(error) => {
            let said = error.to_string();
            cx.error(codes::BAD_VALUE, &said).envoy(said);
            None
        }
    });
    let add = cx.each("headers_to_add", headers_to_add, routes::addition);
    let headers = (!add.is_empty()).then(|| {
        let mutations = HeaderMutations { add: add.into(), ..HeaderMutations::default() };
        Arc::new(Headers(mutations)) as Arc<dyn TunnelHeaders>
    });
    let path = if post_path.is_empty() { "/" } else { post_path };
    Some(Arc::new(Tunneling {
        hostname: hostname?,
        post_path: use_post.then(|| path.into()),
        headers,
        keep_headers: *propagate_response_headers,
        keep_trailers: *propagate_response_trailers,
        request_id: request_id(cx, request_id_extension.as_ref(), request_id_header, request_id_metadata_key),
    }))
}

fn request_id(cx: &mut CompileCx<'_>, from: Option<&RequestIdExtension>, header: &str, key: &str) -> Option<TunnelRequestId> {
    crate::hcm::request_id(cx, from);
    // Without its kind there are none.
    from?.typed_config.as_ref()?;
    let header = match header {
        "" => Some(HeaderName::from(Known::XRequestId)),
        name => cx.at("request_id_header", |cx| routes::header_name(cx, name)),
    };
    let metadata_key = if key.is_empty() { "tunnel_request_id" } else { key }.to_owned();
    Some(TunnelRequestId { header: header?, metadata_key })
}
