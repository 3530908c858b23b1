//! Drives the route table: its index finds what a scan from the first route to the last finds.

use nuncio_codec::headers::HeaderMap;
use nuncio_http::routes::{
    Action, ClusterSpecifier, Fold, MatchCx, Matcher, PathMatch, PathTemplate, Pattern, Route, RouteAction, RouteConfig, RouteTable, VirtualHost,
};

/// A route table and requests, line by line: `d host` begins a virtual host, `p`, `e`, `s`, `r` and `t` are routes by prefix, exact path,
/// whole segments, expression and template (in capitals where letter case counts for nothing), `;` leaves out path parameters; `?host
/// path` asks.
pub fn routes(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut config = RouteConfig::default();
    let mut requests = Vec::new();
    for line in text.lines().take(200) {
        let (kind, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match kind {
            "d" => config.virtual_hosts.push(VirtualHost { name: "v".into(), domains: rest.split(' ').map(Into::into).collect(), ..VirtualHost::default() }),
            ";" => config.ignore_path_parameters_in_path_matching = true,
            "?" => requests.push(rest.split_once(' ').unwrap_or((rest, "/"))),
            kind => {
                let Some(path) = condition(kind, rest) else { continue };
                let action = RouteAction::to(ClusterSpecifier::Cluster("c".into()));
                let route = Route::new(Matcher::path(path), Action::Forward(Box::new(action)));
                if config.virtual_hosts.is_empty() {
                    config.virtual_hosts.push(VirtualHost { name: "v".into(), domains: vec!["*".into()], ..VirtualHost::default() });
                }
                if let Some(host) = config.virtual_hosts.last_mut() {
                    host.routes.push(route);
                }
            }
        }
    }
    let Ok(table) = RouteTable::compile(config) else { return };
    for (host, path) in requests {
        let pseudo = [(":method", "GET"), (":path", path), (":authority", host), (":scheme", "http"), ("x-forwarded-proto", "http")];
        let head: HeaderMap = pseudo.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let cx = MatchCx::default();
        assert_eq!(table.find(&head, &cx), table.explain(&head, &cx).outcome, "{host} {path}");
    }
}

fn condition(kind: &str, text: &str) -> Option<PathMatch> {
    let fold = || Fold::new(text.as_bytes(), kind.starts_with(|c: char| c.is_ascii_uppercase()));
    Some(match kind {
        "p" | "P" => PathMatch::Prefix(fold()),
        "e" | "E" => PathMatch::Exact(fold()),
        "s" | "S" => PathMatch::Separated(fold()),
        "r" => PathMatch::Regex(Pattern::new(text).ok()?),
        "t" => PathMatch::Template(PathTemplate::new(text).ok()?),
        _ => return None,
    })
}
