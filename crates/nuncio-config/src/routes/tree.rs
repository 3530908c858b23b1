//! `VirtualHost.matcher`: a matcher that leads to routes.
//!
//! Its routes stand in the virtual host's list like any others, so that the rest of the data path knows no difference; the
//! matcher's actions are ranges of that list.

use super::{Rules, host};
use crate::codes;
use crate::context::CompileCx;
use crate::path::Step;
use nuncio_api::envoy::config::route::v3 as proto;
use nuncio_api::xds::r#type::matcher::v3::Matcher;
use nuncio_ext::matcher::{self, Findings, Place};
use nuncio_http::routes::{Route, RouteTree};
use std::ops::Range;

/// Compiles it; its routes are added to `routes`. `None` after a report.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &Matcher, rules: Rules, routes: &mut Vec<Route>) -> Option<Box<RouteTree>> {
    let mut places: Vec<Box<str>> = routes.iter().enumerate().map(|(at, _)| format!("routes[{at}]").into()).collect();
    let mut findings = Findings::default();
    let mut add = |cx: &mut CompileCx<'_>, place: &str, below: String, list: &[proto::Route]| -> Range<u32> {
        let first = routes.len() as u32;
        for (index, one) in list.iter().enumerate() {
            let step = if below.is_empty() { format!("{place}.typed_config") } else { format!("{place}.typed_config.{below}[{index}]") };
            let made = cx.step(Step::Text(step.as_str().into()), |cx| host::route(cx, one, rules));
            if let Some(route) = made {
                routes.push(route);
                places.push(format!("matcher.{step}").into());
            }
        }
        first..routes.len() as u32
    };
    let mut action = |place: &str, config: &nuncio_api::xds::core::v3::TypedExtensionConfig, findings: &mut Findings| match matcher::type_of(config) {
        "envoy.config.route.v3.Route" => {
            let route = matcher::message(config).map_err(|error| findings.errors.push(error)).ok()?;
            Some(add(cx, place, String::new(), &[route]))
        }
        "envoy.config.route.v3.RouteList" => {
            let proto::RouteList { routes } = matcher::message(config).map_err(|error| findings.errors.push(error)).ok()?;
            Some(add(cx, place, "routes".to_owned(), &routes))
        }
        other => {
            let message = format!("`{other}` is no action of a virtual host: it leads to a Route or a RouteList");
            findings.errors.push(nuncio_core::ConfigError::at(place, message));
            None
        }
    };
    let tree = matcher::read(from, Place::Routes, &mut action, &mut findings);
    report(cx, findings);
    Some(Box::new(RouteTree { tree: tree?, places: places.into() }))
}

/// What reading a matcher has found, below the current path.
pub(crate) fn report(cx: &mut CompileCx<'_>, findings: Findings) {
    for error in findings.errors {
        let envoy = error.message.clone();
        cx.extension_error(codes::BAD_VALUE, error).envoy(envoy);
    }
    cx.extension_refusals(findings.refusals);
}
