//! How much of a route configuration the cases have looked at.

use super::ask::Asked;
use super::cases::Field;
use nuncio_core::RouteId;
use nuncio_http::routes::{Action, ClusterSpecifier, RouteTable};
use std::collections::{BTreeMap, BTreeSet};

/// What a case can look at of a route that forwards.
const OF_FORWARDS: [Field; 5] = [Field::Cluster, Field::VirtualCluster, Field::VirtualHost, Field::PathRewrite, Field::HostRewrite];
/// And of one that answers.
const OF_ANSWERS: [Field; 1] = [Field::PathRedirect];

/// What was looked at, by virtual host, route and weighted cluster.
#[derive(Debug, Default)]
pub(super) struct Coverage(BTreeMap<(u32, u32, Option<usize>), (bool, BTreeSet<Field>)>);

impl Coverage {
    /// A case was right about a route.
    pub(super) fn cover(&mut self, asked: &Asked, field: Option<Field>) {
        if let Some((RouteId { virtual_host, route }, choice)) = asked.route {
            let (forwards, fields) = self.0.entry((virtual_host, route, choice)).or_default();
            *forwards = asked.forwards;
            fields.extend(field);
        }
    }

    /// Per cent of the routes, weighted clusters each for itself; comprehensively, of everything there is to look at.
    pub(super) fn percent(&self, table: &RouteTable, comprehensive: bool) -> f64 {
        let all = table.hosts().iter().flat_map(|host| &host.routes).map(|entry| ways(&entry.route.action)).sum::<usize>().max(1);
        let seen = self.0.values().map(|(forwards, fields)| {
            let there: &[Field] = if *forwards { &OF_FORWARDS } else { &OF_ANSWERS };
            let looked = there.iter().filter(|field| fields.contains(field)).count();
            if comprehensive { looked as f64 / there.len() as f64 } else { 1.0 }
        });
        100.0 * seen.sum::<f64>() / all as f64
    }

    /// A line for each route that no case was right about.
    pub(super) fn missing(&self, table: &RouteTable) -> Vec<String> {
        let mut lines = Vec::new();
        for (host_index, host) in (0..).zip(table.hosts()) {
            for (index, entry) in (0..).zip(&host.routes) {
                if !self.0.keys().any(|(of_host, route, _)| (*of_host, *route) == (host_index, index)) {
                    let (host, name, path) = (&host.host.name, &entry.route.name, &entry.route.matcher.path);
                    lines.push(format!("Missing test for host: {host}, route name: {name}-{path}"));
                }
            }
        }
        lines
    }
}

fn ways(action: &Action) -> usize {
    match action {
        Action::Forward(action) => match &action.cluster {
            ClusterSpecifier::Weighted(weighted) => weighted.clusters.len(),
            _ => 1,
        },
        _ => 1,
    }
}

/// A number with six digits at most, as C++ streams print it.
pub(super) fn shown(number: f64) -> String {
    let whole = if number >= 1.0 { number.log10() as usize + 1 } else { 1 };
    let text = format!("{number:.*}", 6usize.saturating_sub(whole));
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn percentages_have_six_digits() {
        for (number, text) in [(100.0, "100"), (0.0, "0"), (200.0 / 3.0, "66.6667"), (50.0, "50"), (12.5, "12.5"), (0.5, "0.5")] {
            assert_eq!(shown(number), text);
        }
    }
}
