//! `Admin`: where the admin interface is, and what it lets through.

use crate::address::{self, Parsed};
use crate::context::CompileCx;
use crate::{access_log, unbuilt};
use nuncio_api::envoy::config::accesslog::v3::{AccessLog, access_log::ConfigType};
use nuncio_api::envoy::config::bootstrap::v3 as proto;
use nuncio_api::envoy::config::core::v3 as core;
use nuncio_api::envoy::extensions::access_loggers::file::v3::FileAccessLog;
use nuncio_core::AccessLogger;
use nuncio_http::routes::TextMatch;
use nuncio_listen::ListenAddress;
use nuncio_rt::Address;
use prost::{Message as _, Name as _};
use std::sync::Arc;

/// The admin interface.
#[derive(Debug, Clone)]
pub struct Admin {
    /// `address`; without one there is no admin interface.
    pub address: Option<ListenAddress>,
    /// `access_log` and `access_log_path`.
    pub access_logs: Vec<Arc<dyn AccessLogger>>,
    /// `allow_paths`: only these are answered, if there are any.
    pub allow_paths: Vec<TextMatch>,
}

pub(super) fn compile(cx: &mut CompileCx<'_>, from: &proto::Admin) -> Admin {
    #[allow(deprecated)]
    let proto::Admin { access_log, access_log_path, profile_path, address, socket_options, ignore_global_conn_limit, allow_paths } = from;
    // Where a CPU profile would be written to: there is none.
    let _ = profile_path;
    unbuilt!(cx, socket_options, ignore_global_conn_limit);
    let mut access_logs = access_log::compile(cx, "access_log", access_log);
    if !access_log_path.is_empty() {
        access_logs.extend(cx.at("access_log_path", |cx| access_log::compile(cx, "", &[file(access_log_path)])));
    }
    Admin {
        address: address.as_ref().and_then(|address| cx.at("address", |cx| listen_address(cx, address))),
        access_logs,
        allow_paths: cx.each("allow_paths", allow_paths, crate::routes::text_matcher),
    }
}

fn file(path: &str) -> AccessLog {
    let config = FileAccessLog { path: path.to_owned(), ..FileAccessLog::default() };
    let any = prost_types::Any { type_url: FileAccessLog::type_url(), value: config.encode_to_vec() };
    AccessLog { name: String::new(), filter: None, config_type: Some(ConfigType::TypedConfig(any)) }
}

fn listen_address(cx: &mut CompileCx<'_>, from: &core::Address) -> Option<ListenAddress> {
    match address::parse(cx, from)? {
        Parsed::Ready(Address::Ip(ip)) => Some(ListenAddress::ip(ip)),
        Parsed::Ready(Address::Pipe(path)) => {
            let mode = match &from.address {
                Some(core::address::Address::Pipe(pipe)) => pipe.mode,
                _ => 0,
            };
            Some(ListenAddress::Pipe { path, mode })
        }
        Parsed::Ready(Address::Internal(_)) => {
            cx.without_effect("envoy_internal_address").note("nobody could connect to the admin interface");
            None
        }
        Parsed::Name { host, .. } => {
            cx.at("socket_address", |cx| {
                address::not_an_ip(cx, &host, "");
            });
            None
        }
    }
}
