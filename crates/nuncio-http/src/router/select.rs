//! Where a request goes: the matched route's cluster, or an answer when there is none.

use super::failure;
use crate::routes::{Action, HostRewrite, RouteAction, direct_reply, redirect_reply, rewrite_host};
use crate::stream::Routes;
use nuncio_core::{LocalReply, ResponseFlags, RouteId, StreamCx};
use nuncio_stats::tables::router as stat;
use nuncio_upstream::{WorkerCluster, WorkerHost};
use std::rc::Rc;

/// Where a request goes.
pub(super) struct Target {
    pub(super) id: RouteId,
    /// Which of the weighted clusters was picked.
    pub(super) choice: Option<usize>,
    pub(super) cluster: Rc<WorkerCluster>,
}

/// The route of a request and the cluster it names. Answers redirects, direct responses and what leads nowhere.
pub(super) fn target(cx: &mut StreamCx, routes: &Rc<Routes>, suppress: bool) -> Result<Target, Box<LocalReply>> {
    let lane = cx.worker.lane;
    let scope = &routes.router_stats;
    scope.inc(lane, stat::RQ_TOTAL);
    let no_route = || {
        scope.inc(lane, stat::NO_ROUTE);
        Box::new(LocalReply::new(404, "route_not_found").flags(ResponseFlags::NR))
    };
    let table = routes.table();
    let id = cx.route.as_ref().map(|r| r.id).ok_or_else(no_route)?;
    let entry = table.get(id).ok_or_else(no_route)?;
    let action = match &entry.route.action {
        Action::Forward(action) => action,
        Action::Redirect(_) => {
            scope.inc(lane, stat::RQ_DIRECT_RESPONSE);
            return Err(Box::new(redirect_reply(cx, entry, !suppress).ok_or_else(no_route)?));
        }
        Action::DirectResponse(_) => {
            scope.inc(lane, stat::RQ_DIRECT_RESPONSE);
            return Err(Box::new(direct_reply(cx, entry).ok_or_else(no_route)?));
        }
        Action::NonForwarding => {
            scope.inc(lane, stat::NO_CLUSTER);
            return Err(failure::no_cluster());
        }
    };
    let random = cx.worker.rng.next_u64();
    let runtime = cx.worker.runtime.values();
    let picked = action.pick_cluster(&cx.request, random, None, &runtime);
    match routes.clusters.by_name(picked.name) {
        Some(cluster) => {
            cx.info.upstream.cluster = Some(cluster.info().name().clone());
            cx.info.upstream.cluster_display = Some(cluster.info().display_name().clone());
            Ok(Target { id, choice: picked.choice, cluster })
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
pub(super) fn auto_host_rewrite(action: Option<&RouteAction>, cx: &mut StreamCx, host: &WorkerHost, keep_original: bool) {
    let Some(action) = action else { return };
    if matches!(action.host_rewrite, HostRewrite::Auto) && !host.host.hostname.is_empty() {
        let name = host.host.hostname.as_bytes();
        rewrite_host(&mut cx.request, name, action.append_x_forwarded_host, keep_original);
    }
}
