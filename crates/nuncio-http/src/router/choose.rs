//! Beginning an attempt: which host of the cluster it is made at, where that can be told at once.

use super::charge::Answer;
use super::{Router, attempt, destination, failure, log, select};
use crate::routes::Action;
use crate::tracing;
use nuncio_core::metadata::{MetadataValue, set_dynamic_at};
use nuncio_core::{LocalReply, StreamCx};
use nuncio_rt::Time;
use nuncio_stats::tables::cluster as stat;
use nuncio_upstream::config::Discovery;
use nuncio_upstream::{Host, Member, PickCx};

impl Router {
    /// Picks a host and asks its pool for a connection.
    pub(super) fn next_attempt(&mut self, cx: &mut StreamCx, now: Time) -> Result<(), Box<LocalReply>> {
        if self.log.is_some() {
            self.log_attempts(cx);
        }
        cx.info.attempts += 1;
        let retry = cx.info.attempts > 1;
        let Some(cluster) = self.cluster.clone() else { return Err(failure::no_cluster()) };
        let loads = if retry { self.retries.loads(&cluster).cloned() } else { None };
        let policy = self.retries.policy();
        let rejects = |host: &Host| self.retries.rejects(host);
        let avoid = retry && policy.is_some_and(|p| !p.host_predicates.is_empty());
        let action = match &self.routes.as_ref().and_then(|r| r.table().get(self.id)).map(|entry| &entry.route.action) {
            Some(Action::Forward(action)) => Some(action),
            _ => None,
        };
        // The host comes from this cluster, or from one that it is made of.
        let member = cluster.member(loads.as_ref());
        let (from, loads) = match &member {
            Member::Of(member) => (member.cluster(), Some(member.loads())),
            Member::Own | Member::Nowhere => (&cluster, loads.as_ref()),
        };
        let first = cluster.member_for(cx.info.attempts);
        let config = &first.as_ref().unwrap_or(from).info().config;
        let hash = if config.lb.is_hashing() { select::hash(action.map(|action| &**action), config, cx, &mut self.cookies) } else { None };
        let named = select::named_hosts(config, cx, self.named_hosts);
        let destination = match &config.discovery {
            Discovery::OriginalDst(wants) => destination::of(cx, wants, from),
            _ => None,
        };
        let name = if let Discovery::Dynamic(_) = config.discovery { destination::name(cx, from) } else { None };
        let asked = action.filter(|_| config.subsets.is_some()).and_then(|action| action.metadata_match(self.choice));
        let merged = select::criteria(config, cx, asked);
        let metadata = merged.as_ref().or(asked);
        let pick = PickCx {
            hash,
            named: &named,
            destination: destination.as_ref(),
            name: name.as_deref(),
            attempt: cx.info.attempts,
            metadata,
            reject: avoid.then_some(&rejects as &dyn Fn(&Host) -> bool),
            reject_attempts: policy.map_or(1, |p| p.host_selection_retry_max_attempts),
            loads,
        };
        // A filter's wish counts for the first attempt.
        let wish = cx.override_host.as_deref().filter(|_| !retry);
        let wished = wish.and_then(|wish| from.find_address(&wish.address));
        let strict = wish.and_then(|wish| wish.strict).filter(|_| wished.is_none());
        let found = match (wished, &member) {
            (Some(host), _) => Some(host),
            (None, Member::Nowhere) => None,
            (None, _) if strict.is_some() => None,
            (None, _) => from.find(&pick),
        };
        // The name has been waited for, in vain.
        let mut unresolved = self.attempt.unresolved();
        if found.is_none() && unresolved.is_none() {
            if let Some(name) = &name {
                unresolved = self.attempt.resolve(name, from);
                if unresolved.is_none() {
                    // It is made once the name has been looked up.
                    cx.info.attempts -= 1;
                    return Ok(());
                }
            }
            cluster.cx().inc(stat::UPSTREAM_CX_NONE_HEALTHY);
        }
        let Some(host) = found.filter(|host| host.may_have_pool(self.priority)) else {
            self.attempt.clear();
            self.classes.status(503, Answer { cluster: cluster.cx(), host: None, internal: cx.info.internal, head: None });
            let mut reply = failure::no_healthy_host();
            reply.status = strict.unwrap_or(reply.status);
            if let Some(details) = unresolved {
                reply.details = format!("dns_resolution_failure{{{details}}}").into();
            }
            return Err(reply);
        };
        self.named_hosts += select::used(&named, &host);
        if let Some(key) = from.info().config.selected_key.clone() {
            set_dynamic_at(&mut cx.metadata, &key.0, &key.1, MetadataValue::Text(host.host.address.to_string()));
        }
        if cx.trace.is_some() {
            tracing::attempt(cx);
        }
        select::auto_host_rewrite(self.action(), cx, &host, !self.suppress_envoy_headers);
        self.retries.attempted(&cluster, &host);
        if cx.info.attempts > 1 {
            self.attempt.refill(&self.replay, self.request_ended.is_some(), cx);
            self.tell_attempt(cx);
        }
        attempt::note_host(cx, Some(&host));
        if let Some(log) = &self.log {
            self.attempt.set_record(log::Record::new(log, &cluster, &host, now));
        }
        let wanted = select::transport_options(&host, cx);
        if self.action().is_some_and(|action| action.ends_connect(&cx.request)) {
            self.attempt.acquire_raw(host, wanted, self.priority, now);
            return Ok(());
        }
        cluster.preconnect(wanted.as_ref(), self.priority, cx.info.protocol);
        self.attempt.acquire(host, wanted, self.priority, cx.info.protocol, now);
        Ok(())
    }
}
