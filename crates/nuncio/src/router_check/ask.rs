//! One request put to a route table, and what becomes of it.

use super::cases::{Field, Input};
use nuncio_codec::headers::{HeaderMap, Known};
use nuncio_core::{ConnInfo, RouteId, RouteRef, RuntimeValues, StreamCx, Worker};
use nuncio_http::routes::{
    Action, Finalize, MatchCx, Redirect, RouteMatch, RouteTable, finalize_request, finalize_response, redirect_location, redirect_reply,
    tls_redirect,
};
use nuncio_stats::Lane;
use std::{rc::Rc, sync::Arc};

/// What became of a request.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The route, and which of its weighted clusters.
    pub(super) route: Option<(RouteId, Option<usize>)>,
    /// It is forwarded, not answered here.
    pub(super) forwards: bool,
    pub(super) request: HeaderMap,
    pub(super) response: HeaderMap,
    cluster: String,
    virtual_cluster: String,
    virtual_host: String,
    redirect: Option<(String, u16)>,
}

impl Asked {
    /// What there is of a field, as text; nothing if there is nothing.
    pub(super) fn value(&self, field: Field) -> String {
        let header = |name| self.request.get_str(name).filter(|_| self.forwards).unwrap_or_default().to_owned();
        match field {
            Field::Cluster => self.cluster.clone(),
            Field::VirtualCluster => self.virtual_cluster.clone(),
            Field::VirtualHost => self.virtual_host.clone(),
            Field::PathRewrite => header(Known::Path),
            Field::HostRewrite => header(Known::Authority),
            Field::PathRedirect => self.redirect.as_ref().map(|(path, _)| path.clone()).unwrap_or_default(),
            Field::CodeRedirect => self.redirect.as_ref().map_or(0, |(_, code)| *code).to_string(),
        }
    }
}

/// Puts a request to a table.
pub(super) fn ask(table: &Arc<RouteTable>, runtime: RuntimeValues, input: &Input) -> Asked {
    let worker = Worker::new(0, Lane::MAIN);
    worker.runtime.set(Arc::new(runtime));
    let mut cx = StreamCx::new(worker, Rc::new(ConnInfo { tls: input.ssl, ..ConnInfo::nobody() }));
    fill(&mut cx, input);
    let found = {
        let runtime = cx.worker.runtime.values();
        let matching = MatchCx {
            random: input.random,
            runtime: Some(&runtime),
            metadata: Some(&cx.metadata),
            filter_state: Some(&cx.filter_state),
            client_certificate: cx.conn.client_certificate,
        };
        table.find(&cx.request, &matching)
    };
    let mut asked = Asked::default();
    match found {
        RouteMatch::None => {}
        RouteMatch::RequireTls { .. } => asked.redirect = Some(answer(tls_redirect(&cx.request))),
        RouteMatch::Route(id) => follow(&mut cx, table, id, input, &mut asked),
    }
    asked.request = std::mem::take(&mut cx.request);
    asked.response = std::mem::take(&mut cx.response);
    asked
}

fn fill(cx: &mut StreamCx, input: &Input) {
    let scheme = if input.ssl { "https" } else { "http" };
    let head = &mut cx.request;
    head.insert(Known::Method, &input.method);
    head.insert(Known::Scheme, scheme);
    head.insert(Known::Authority, &input.authority);
    head.insert(Known::Path, &input.path);
    head.insert(Known::XForwardedProto, scheme);
    if input.internal {
        head.insert(Known::XEnvoyInternal, "true");
    }
    input.request_headers.iter().for_each(|(name, value)| head.append(name.as_str(), value));
    input.response_headers.iter().for_each(|(name, value)| cx.response.append(name.as_str(), value));
    for (namespace, fields) in &input.metadata {
        for (key, value) in fields {
            nuncio_core::metadata::set_dynamic(&mut cx.metadata, namespace, key, value.clone());
        }
    }
    cx.random = input.random;
    cx.info.internal = input.internal;
}

fn follow(cx: &mut StreamCx, table: &Arc<RouteTable>, id: RouteId, input: &Input, asked: &mut Asked) {
    let Some(entry) = table.get(id) else { return };
    cx.route = Some(RouteRef::new(table.pin(), id, None));
    let Action::Forward(action) = &entry.route.action else {
        asked.route = Some((id, None));
        asked.redirect = Some(match (redirect_reply(cx, entry, true), &entry.route.action) {
            (Some(reply), _) => answer(reply),
            (None, Action::DirectResponse(direct)) => {
                let location = redirect_location(&cx.request, &Redirect::default());
                (String::from_utf8_lossy(&location).into_owned(), direct.status)
            }
            (None, _) => (String::new(), 0),
        });
        finalize_response(cx, table, entry, None);
        return;
    };
    asked.forwards = true;
    let choice = {
        let runtime = cx.worker.runtime.values();
        let picked = action.pick_cluster(&cx.request, input.random, None, &runtime);
        asked.cluster = picked.name.to_owned();
        picked.choice
    };
    asked.route = Some((id, choice));
    asked.virtual_host = entry.host.name.to_string();
    asked.virtual_cluster = match entry.host.virtual_cluster(&cx.request) {
        Some(found) => found.name.to_string(),
        None if entry.host.virtual_clusters.is_empty() => String::new(),
        None => "other".to_owned(),
    };
    finalize_request(cx, table, entry, Finalize { choice, keep_original: true });
    finalize_response(cx, table, entry, choice);
}

fn answer(reply: nuncio_core::LocalReply) -> (String, u16) {
    let location = reply.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
    (location.map(|(_, value)| value.to_string()).unwrap_or_default(), reply.status)
}
