//! `/server_info`: version, state, uptime, command line, node.

use super::Endpoint;
use crate::context::AdminContext;
use crate::defaults::with_defaults;
use crate::response::AdminResponse;
use nuncio_api::Json;

pub(super) const SERVER_INFO: Endpoint = Endpoint {
    path: "/server_info",
    help: "print server version/status information",
    command: false,
    params: &[],
    answer: |_, cx| AdminResponse::json(&json(cx)),
};

/// `envoy.admin.v3.ServerInfo`, members that are empty included.
fn json(cx: &dyn AdminContext) -> Json {
    let info = cx.server_info();
    let seconds = |uptime: std::time::Duration| Json::text(format!("{}s", uptime.as_secs()));
    Json::object(vec![
        ("version", Json::text(&info.version)),
        ("state", Json::text(cx.state().as_str())),
        ("uptime_current_epoch", seconds(info.uptime_current_epoch)),
        ("uptime_all_epochs", seconds(info.uptime_all_epochs)),
        ("hot_restart_version", Json::text(&info.hot_restart_version)),
        (
            "command_line_options",
            with_defaults(
                "envoy.admin.v3.CommandLineOptions",
                &info.command_line_options,
            ),
        ),
        (
            "node",
            with_defaults("envoy.config.core.v3.Node", &info.node),
        ),
        ("hot_restart_initializing", Json::Bool(false)),
    ])
}
