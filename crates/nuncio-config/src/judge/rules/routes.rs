//! Route configurations: the cluster specifier plugins that routes name.

use crate::codes;
use crate::context::CompileCx;
use nuncio_api::envoy::config::route::v3::{RouteConfiguration, route::Action, route_action::ClusterSpecifier};

pub(super) fn plugins(cx: &mut CompileCx<'_>, config: &RouteConfiguration) {
    let known: Vec<&str> = config.cluster_specifier_plugins.iter().filter_map(|p| Some(p.extension.as_ref()?.name.as_str())).collect();
    for (host, virtual_host) in config.virtual_hosts.iter().enumerate() {
        for (index, route) in virtual_host.routes.iter().enumerate() {
            let Some(Action::Route(action)) = &route.action else { continue };
            let Some(ClusterSpecifier::ClusterSpecifierPlugin(name)) = &action.cluster_specifier else { continue };
            if known.contains(&name.as_str()) {
                continue;
            }
            let report = |cx: &mut CompileCx<'_>| {
                cx.error(codes::MISSING, format!("there is no cluster specifier plugin `{name}`"))
                    .envoy(format!("Unknown cluster specifier plugin name: {name} is used in the route"));
            };
            cx.item("virtual_hosts", host, |cx| {
                cx.item("routes", index, |cx| cx.at("route", |cx| cx.at("cluster_specifier_plugin", report)));
            });
        }
    }
}
