//! Where a request goes: the matched route's cluster, or an answer when there is none.

use super::failure;
use crate::routes::{Action, HostRewrite, RouteAction};
use crate::stream::Routes;
use nuncio_codec::headers::Known;
use nuncio_core::{LocalReply, ResponseFlags, RouteId, StreamCx};
use nuncio_stats::tables::router as stat;
use nuncio_upstream::{WorkerCluster, WorkerHost};
use std::rc::Rc;

/// The route of a request and the cluster it names. Answers redirects, direct responses and what leads nowhere.
pub(crate) fn cluster(cx: &mut StreamCx, routes: &Rc<Routes>) -> Result<(RouteId, Rc<WorkerCluster>), Box<LocalReply>> {
    let lane = cx.worker.lane;
    let scope = &routes.router_stats;
    scope.inc(lane, stat::RQ_TOTAL);
    let Some(id) = cx.route.as_ref().map(|r| r.id) else {
        scope.inc(lane, stat::NO_ROUTE);
        return Err(Box::new(LocalReply::new(404, "route_not_found").flags(ResponseFlags::NR)));
    };
    let table = routes.table();
    let action = match table.action(id) {
        Some(Action::Forward(action)) => action,
        Some(Action::Redirect(_)) => {
            scope.inc(lane, stat::RQ_REDIRECT);
            return Err(Box::new(table.redirect_reply(cx, id)));
        }
        Some(Action::DirectResponse(_)) => {
            scope.inc(lane, stat::RQ_DIRECT_RESPONSE);
            return Err(Box::new(table.direct_reply(cx, id)));
        }
        Some(Action::NonForwarding) | None => {
            scope.inc(lane, stat::NO_ROUTE);
            return Err(Box::new(LocalReply::new(404, "route_not_found").flags(ResponseFlags::NR)));
        }
    };
    let random = cx.worker.rng.next_u64();
    let found = table.pick_cluster(id, random, &cx.request).and_then(|name| {
        cx.info.upstream.cluster = Some(name.clone());
        routes.clusters.by_name(&name)
    });
    match found {
        Some(cluster) => {
            cx.info.upstream.cluster_display = Some(cluster.info().display_name().clone());
            Ok((id, cluster))
        }
        None => {
            scope.inc(lane, stat::NO_CLUSTER);
            let mut reply = failure::no_cluster();
            reply.status = action.cluster_not_found_status;
            Err(reply)
        }
    }
}

/// `auto_host_rewrite`: the host header becomes the chosen host's name.
pub(crate) fn auto_host_rewrite(action: Option<&RouteAction>, cx: &mut StreamCx, host: &WorkerHost) {
    let Some(action) = action else { return };
    if !matches!(action.host_rewrite, HostRewrite::Auto) || host.host.hostname.is_empty() {
        return;
    }
    crate::routes::rewrite_host(cx, host.host.hostname.as_bytes(), action.append_x_forwarded_host);
    debug_assert!(cx.request.contains(Known::Authority));
}
