//! `access_log` of a listener: one line per connection, at its end.

use crate::config::ListenerConfig;
use nuncio_core::{ConnInfo, LeftByFilters, ResponseFlags, StreamCx, Worker};
use nuncio_rt::Time;
use std::{rc::Rc, sync::Arc};

/// The line of one connection, written when dropped; nothing at all where the listener has no access log.
pub(crate) struct ConnectionLog(Option<Line>);

struct Line {
    worker: Rc<Worker>,
    config: Arc<ListenerConfig>,
    info: Option<Rc<ConnInfo>>,
    matched: bool,
}

impl ConnectionLog {
    /// For a connection of a listener.
    pub(crate) fn new(worker: &Rc<Worker>, config: &Arc<ListenerConfig>) -> ConnectionLog {
        let line = || Line { worker: worker.clone(), config: config.clone(), info: None, matched: true };
        ConnectionLog((!config.access_logs.is_empty()).then(line))
    }

    /// Says which connection it is about.
    pub(crate) fn about(&mut self, info: &Rc<ConnInfo>) {
        if let Some(line) = &mut self.0 {
            line.info = Some(info.clone());
        }
    }

    /// Says that no filter chain matched.
    pub(crate) fn none_matched(&mut self, info: ConnInfo) {
        if let Some(line) = &mut self.0 {
            line.info = Some(Rc::new(info));
            line.matched = false;
        }
    }
}

impl Drop for ConnectionLog {
    fn drop(&mut self) {
        let Some(Line { worker, config, info: Some(info), matched }) = self.0.take() else { return };
        let mut stream = StreamCx::new(worker, info);
        stream.info.start = stream.conn.start;
        stream.info.end = Some(Time::now());
        if let Some(left) = LeftByFilters::find(&stream.conn) {
            left.tell(&mut stream);
        }
        if !matched {
            stream.info.flags.set(ResponseFlags::NR);
            stream.info.details = "filter_chain_not_found".into();
        }
        config.access_logs.iter().for_each(|log| log.log(&stream));
    }
}
