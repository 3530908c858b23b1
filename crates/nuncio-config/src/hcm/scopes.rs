//! `ScopedRoutes`: routes by what requests have in their headers.
//!
//! Scopes that stand in the configuration are compiled; those that come from a server are not, and no request has a route
//! then.

use crate::codes;
use crate::context::CompileCx;
use crate::routes::{Origin, compile as compile_table};
use nuncio_api::envoy::config::route::v3::{ScopedRouteConfiguration, scoped_route_configuration::key::{Fragment, fragment::Type as Key}};
use nuncio_api::envoy::extensions::filters::network::http_connection_manager::v3::{ScopedRouteConfigurationsList, ScopedRoutes, scoped_routes};
use nuncio_http::routes::{Element, KeyPart, RouteTable, Scopes};
use scoped_routes::{ConfigSpecifier, scope_key_builder::{FragmentBuilder, fragment_builder::{HeaderValueExtractor, Type, header_value_extractor::{ExtractType, KvElement}}}};
use std::sync::Arc;

/// Compiles it; `None` after a report.
pub(super) fn compile(cx: &mut CompileCx<'_>, from: &ScopedRoutes) -> Option<Scopes> {
    // Where its routes would come from does not matter to those that are there.
    let ScopedRoutes { name: _, scope_key_builder, rds_config_source: _, config_specifier } = from;
    let fragments = scope_key_builder.as_ref().map(|builder| &*builder.fragments).unwrap_or_default();
    let key = cx.at("scope_key_builder", |cx| cx.each("fragments", fragments, key_part));
    let list = match config_specifier {
        Some(ConfigSpecifier::ScopedRouteConfigurationsList(list)) => list,
        Some(ConfigSpecifier::ScopedRds(_)) => {
            cx.unsafe_without("scoped_rds").note("no request would have a route: put the scopes into `scoped_route_configurations_list`");
            return None;
        }
        None => return None,
    };
    let ScopedRouteConfigurationsList { scoped_route_configurations } = list;
    let scopes = cx.at("scoped_route_configurations_list", |cx| cx.each("scoped_route_configurations", scoped_route_configurations, scope));
    Some(Scopes::new(key.into(), scopes))
}

fn key_part(cx: &mut CompileCx<'_>, from: &FragmentBuilder) -> Option<KeyPart> {
    let Some(Type::HeaderValueExtractor(HeaderValueExtractor { name, element_separator, extract_type })) = &from.r#type else { return None };
    cx.at("header_value_extractor", |cx| {
        let header = nuncio_ext::read::header_name(name).map_err(|error| { cx.extension_error(codes::BAD_VALUE, error); }).ok()?;
        let element = match extract_type {
            Some(ExtractType::Index(index)) => {
                if *index > 0 && element_separator.is_empty() {
                    cx.at("index", |cx| {
                        cx.error(codes::CONFLICT, "without `element_separator` there is only the element 0")
                            .envoy("Index > 0 for empty string element separator.");
                    });
                }
                Element::Index(*index as usize)
            }
            Some(ExtractType::Element(KvElement { separator, key })) => {
                Element::Named { key: key.as_bytes().into(), separator: separator.as_bytes().into() }
            }
            None => {
                cx.error(codes::MISSING, "set `index` or `element`").envoy("HeaderValueExtractor extract_type not set.");
                return None;
            }
        };
        Some(KeyPart { header, separator: element_separator.as_bytes().into(), element })
    })
}

fn scope(cx: &mut CompileCx<'_>, from: &ScopedRouteConfiguration) -> Option<(String, Vec<Box<[u8]>>, Arc<RouteTable>)> {
    // Routes that are there need not be asked for.
    let ScopedRouteConfiguration { on_demand: _, name, route_configuration_name, route_configuration, key } = from;
    if !route_configuration_name.is_empty() {
        cx.at("route_configuration_name", |cx| {
            cx.error(codes::CONFLICT, "scopes that stand here have their routes here, in `route_configuration`")
                .envoy("Fetching routes via RDS (route_configuration_name) is not supported with inline scoped routes.");
        });
    }
    let Some(routes) = route_configuration else {
        if route_configuration_name.is_empty() {
            cx.error(codes::MISSING, "a scope needs a `route_configuration`").envoy("You must specify a route_configuration with inline scoped routes.");
        }
        return None;
    };
    let table = cx.at("route_configuration", |cx| compile_table(cx, routes, Origin::Static))?;
    let part = |Fragment { r#type }: &Fragment| match r#type {
        Some(Key::StringKey(text)) => text.as_bytes().into(),
        None => Box::default(),
    };
    let key = key.as_ref().map(|key| key.fragments.iter().map(part).collect()).unwrap_or_default();
    Some((name.clone(), key, table))
}
