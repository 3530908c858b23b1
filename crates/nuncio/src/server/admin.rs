//! The server as the admin endpoints see it.

use super::{process, state::Running, views};
use crate::explain::{self, Hosts, KnownHost};
use nuncio_admin::{
    AdminContext, Answered, Certificates, Client, Cluster, ConfigSection, Drain, Listener, Logger, Memory, Params, Runtime, RuntimeEntry, Search, ServerInfo,
    State, UnreadyTargets,
};
use nuncio_core::logging::{self, Level};
use nuncio_http::routes::Pattern;
use nuncio_listen::Which;
use nuncio_rt::Time;
use nuncio_stats::{EndpointStats, OutputRules, Store};
use prost::Message;
use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
};
use tokio::sync::oneshot;

impl AdminContext for Running {
    fn state(&self) -> State {
        Running::state(self)
    }

    fn server_info(&self) -> ServerInfo {
        let uptime = Time::now().since(self.started);
        ServerInfo {
            version: crate::cli::version_line().rsplit(' ').next().unwrap_or_default().to_owned(),
            uptime_current_epoch: uptime,
            uptime_all_epochs: uptime,
            hot_restart_version: "disabled".into(),
            command_line_options: super::options_proto::encode(&self.options),
            node: super::node::shown(self).encode_to_vec(),
        }
    }

    fn stats(&self) -> &Store {
        &self.store
    }

    fn stats_output(&self) -> &OutputRules {
        &self.output
    }

    fn refresh_stats(&self) {
        self.refresh();
    }

    fn clusters(&self, wanted: &dyn Fn(&str) -> bool, each: &mut dyn FnMut(Cluster)) {
        for view in self.clusters.view() {
            if wanted(view.info.name()) {
                each(views::cluster(&view));
            }
        }
    }

    fn endpoint_stats(&self) -> Vec<EndpointStats> {
        let clusters = self.clusters.view().into_iter().filter(|view| view.info.config.track.per_endpoint);
        clusters.flat_map(|view| views::endpoints(&view)).collect()
    }

    fn listeners(&self) -> Vec<Listener> {
        let listener = |status: nuncio_listen::ListenerStatus| {
            let mut addresses = status.locals.iter().map(views::address);
            let address = addresses.next()?;
            Some(Listener { name: status.name.to_string(), address, more_addresses: addresses.collect() })
        };
        self.listeners.statuses().into_iter().filter_map(listener).collect()
    }

    fn certificates(&self) -> Vec<Certificates> {
        super::secrets::certificates(self).iter().map(|(own, trusted)| views::certificates(own, trusted.as_ref())).collect()
    }

    fn config_dump(&self, endpoints: bool) -> Vec<ConfigSection> {
        super::dump::sections(self, endpoints)
    }

    fn memory(&self) -> Memory {
        process::memory()
    }

    fn runtime(&self) -> Runtime {
        let runtime = self.runtime.borrow();
        let entry = |(key, (layers, last)): (&str, (Vec<&str>, &str))| RuntimeEntry {
            key: key.to_owned(),
            layer_values: layers.into_iter().map(str::to_owned).collect(),
            final_value: last.to_owned(),
        };
        Runtime {
            layers: runtime.layers().iter().map(|layer| layer.name.to_string()).collect(),
            entries: runtime.entries().into_iter().map(entry).collect(),
        }
    }

    fn unready_targets(&self) -> Vec<UnreadyTargets> {
        let warming = self.clusters.warming();
        if warming.is_empty() {
            return Vec::new();
        }
        let targets = warming.iter().map(|view| view.info.name().to_string()).collect();
        vec![UnreadyTargets { name: "init manager Server".into(), targets, listener: false }]
    }

    fn loggers(&self) -> Vec<Logger> {
        logging::levels().map(|(name, level)| Logger { name, level: level.name() }).collect()
    }

    fn regex(&self, pattern: &str) -> Result<Search, String> {
        // Compiled as it was given first: the error speaks of that text.
        Pattern::new(pattern).map_err(|error| error.to_string())?;
        let anywhere = Pattern::new(&format!("(?s:.*)(?:{pattern})(?s:.*)")).map_err(|error| error.to_string())?;
        Ok(Box::new(move |text: &str| anywhere.matches(text.as_bytes())))
    }

    fn set_log_level(&self, component: Option<&str>, level: &str) {
        let Some(level) = Level::ALL.into_iter().find(|l| l.name() == level) else { return };
        match component {
            Some(name) => drop(logging::set_component_level(name, level)),
            None => logging::set_level(level),
        }
    }

    fn modify_runtime(&self, overrides: &[(&str, &str)]) -> Result<(), String> {
        let changes: Vec<(String, String)> = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let changed = self.runtime.borrow().with_admin(&changes);
        let Some(changed) = changed else {
            return Err("No admin layer specified".into());
        };
        self.set_runtime(Arc::new(changed));
        Ok(())
    }

    fn fail_health_checks(&self, fail: bool) {
        self.failing_health_checks.store(fail, Relaxed);
    }

    fn drain_listeners(&self, drain: Drain) {
        let which = if drain.inbound_only { Which::Inbound } else { Which::All };
        if drain.graceful {
            self.listeners.ease(self.pace());
        }
        if !drain.graceful {
            self.listeners.stop(which);
        } else if !drain.skip_exit {
            let listeners = self.listeners.clone();
            let time = self.options.drain_time;
            nuncio_rt::spawn(async move {
                tokio::time::sleep(time).await;
                listeners.stop(which);
            });
        }
    }

    fn reopen_logs(&self) {
        self.files.reopen();
    }

    fn explain(&self, params: &Params) -> Result<String, String> {
        let headers: Vec<&str> = params.iter().filter(|(name, _)| *name == "header").map(|(_, line)| line).collect();
        let random = match params.filled("random") {
            Some(text) => Some(text.parse().map_err(|_| format!("random takes a number, not '{text}'"))?),
            None => None,
        };
        let url = params.filled("url").ok_or("say which request: ?method=GET&url=http://host:port/path")?;
        let method = params.filled("method").unwrap_or("GET");
        let question = explain::question(method, url, &headers, random, params.filled("listener"))?;
        let snapshot = self.loaded();
        let answer = explain::explain(&question, &explain::Facts { snapshot: &snapshot, hosts: self })?;
        Ok(explain::shown(&answer, params.filled("format") == Some("json")))
    }

    fn why(&self, id: Option<&str>) -> Result<String, String> {
        let logs = self.failures.borrow();
        let mut failed: Vec<_> = logs.iter().flat_map(|log| log.requests()).collect();
        failed.sort_by_key(|request| request.at);
        crate::why::told(&failed, id)
    }

    fn reload(&self) -> Pin<Box<dyn Future<Output = Result<String, String>> + '_>> {
        let (answer, answered) = oneshot::channel();
        let asked = self.reload_asked.send(answer);
        Box::pin(async move {
            asked.map_err(|_| "the process is about to end".to_owned())?;
            answered.await.unwrap_or_else(|_| Err("the process is about to end".into()))
        })
    }

    fn allows(&self, target: &str) -> bool {
        let snapshot = self.loaded();
        let Some(admin) = &snapshot.admin else { return true };
        admin.allow_paths.is_empty() || admin.allow_paths.iter().any(|path| path.matches(target.as_bytes()))
    }

    fn logs(&self) -> bool {
        self.loaded().admin.as_ref().is_some_and(|admin| !admin.access_logs.is_empty())
    }

    fn log(&self, client: &Client, answered: Answered) {
        let snapshot = self.loaded();
        let loggers = snapshot.admin.as_ref().map_or(&[][..], |admin| &admin.access_logs);
        super::admin_log::write(loggers, &self.main_worker, client, answered);
    }

    fn quit(&self) {
        self.quit.notify_one();
    }
}

/// The hosts as they are now.
impl Hosts for Running {
    fn of(&self, cluster: &str) -> Vec<KnownHost> {
        let Some(view) = self.clusters.view().into_iter().find(|view| **view.info.name() == *cluster) else { return Vec::new() };
        let known = |host: &std::sync::Arc<nuncio_upstream::Host>| KnownHost {
            address: host.address.to_string(),
            health: Some(host.state.flags().to_string()),
        };
        view.hosts.hosts().map(known).collect()
    }
}
