//! `envoy.filters.http.lua`: scripts that look at requests and responses, change them, answer them, and ask services.
//!
//! A script runs as a coroutine: where it has to wait (for the body, for a service) it yields, and is resumed when there is
//! an answer. Each script has a machine of its own on each worker. What goes wrong in a script is logged and counted, and
//! the exchange goes on.

mod config;
mod handle;
mod headers;
mod info;
mod script;
mod shared;

use config::{PerRoute, Runs};
use handle::Handle;
use mlua::{MultiValue, Thread};
use nuncio_core::metadata::MetadataValue;
use nuncio_core::{Hold, HttpFilter, HttpFilterEntry, Phases, Posture, StateSlot, Step, StreamCx};
use nuncio_rt::Buf;
use nuncio_stats::{Scope, stats_table};
use script::{Script, Vm};
use shared::{Asked, Side};
use std::collections::{BTreeMap, HashMap};
use std::{fmt, rc::Rc, sync::Arc};

/// The registry's line.
pub const ENTRY: HttpFilterEntry = HttpFilterEntry {
    name: "envoy.filters.http.lua",
    message: config::MESSAGE,
    route_message: config::ROUTE_MESSAGE,
    posture: Posture::UntrustedDownstream,
    build: config::build,
    route: config::route,
};

stats_table! {
    /// `http.<prefix>.lua.`
    pub LUA: "lua" {
        /// Runs that ended in an error.
        counter ERRORS = "errors",
        /// Runs of a script's functions.
        counter EXECUTIONS = "executions",
    }
}

#[derive(Debug)]
struct Lua(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    default: Option<Arc<Script>>,
    named: HashMap<String, Arc<Script>>,
    context: BTreeMap<String, MetadataValue>,
    clear_route_cache: bool,
    stats: Arc<Scope>,
    state: StateSlot<State>,
}

/// What runs for one exchange.
#[derive(Default)]
struct State {
    request: Option<Run>,
    response: Option<Run>,
}

/// What a run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    Body,
    Chunk,
    Trailers,
    Call,
}

/// A function under way.
struct Run {
    shared: Rc<shared::Shared>,
    thread: Thread,
    waits: Waits,
    _vm: Rc<Vm>,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Run({:?})", self.waits)
    }
}

impl State {
    fn of(&mut self, side: Side) -> &mut Option<Run> {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }
}

impl Shared {
    /// What runs on the exchange's route.
    fn script(&self, cx: &StreamCx) -> (Option<Arc<Script>>, BTreeMap<String, MetadataValue>) {
        let own = cx.route_config::<PerRoute>(&self.name);
        let script = match own.map_or(&Runs::Default, |own| &own.runs) {
            Runs::Default => self.default.clone(),
            Runs::Nothing => None,
            Runs::Named(name) => self.named.get(name).cloned(),
            Runs::Own(script) => Some(script.clone()),
        };
        (script, own.and_then(|own| own.context.clone()).unwrap_or_else(|| self.context.clone()))
    }

    /// A head has come: runs the script's function for it.
    fn begin(self: &Arc<Self>, cx: &mut StreamCx, side: Side, end: bool) -> Step {
        let (Some(script), context) = self.script(cx) else { return Step::Continue };
        let Some(vm) = script.vm(&cx.worker) else { return Step::Continue };
        let Some(function) = vm.function(side) else { return Step::Continue };
        let shared = shared::Shared::new(side, &self.name, end);
        self.stats.inc(cx.worker.lane, EXECUTIONS);
        let handle = Handle { shared: shared.clone(), context };
        let made = vm.lua.create_thread(function.clone()).and_then(|thread| Ok((thread, vm.lua.create_userdata(handle)?)));
        match made {
            Ok((thread, handle)) => {
                let run = Run { shared, thread, waits: Waits::Body, _vm: vm };
                self.resume(cx, run, handle)
            }
            Err(error) => {
                self.failed(cx, &error);
                Step::Continue
            }
        }
    }

    fn failed(&self, cx: &StreamCx, error: &mlua::Error) {
        self.stats.inc(cx.worker.lane, ERRORS);
        log::error!(target: "lua", "script log: {}", script::text_of(error));
    }

    /// Lets the script go on until it waits or ends.
    fn resume(self: &Arc<Self>, cx: &mut StreamCx, mut run: Run, with: impl mlua::IntoLuaMulti) -> Step {
        let shared = run.shared.clone();
        let came = shared.lend(cx, || run.thread.resume::<MultiValue>(with));
        let Asked { reply, call, calls_aside, changed, .. } = &mut *shared.asked.borrow_mut();
        if std::mem::take(changed) && self.clear_route_cache {
            cx.route_is_stale = true;
        }
        if let Some(client) = cx.worker.http_client() {
            for call in calls_aside.drain(..) {
                let sent = client.send(call);
                // Nobody waits for this answer.
                nuncio_rt::spawn(async move { drop(sent.await) });
            }
        }
        if let Some(reply) = reply.take() {
            return Step::Reply(reply);
        }
        let waits = match came {
            Err(error) => {
                self.failed(cx, &error);
                None
            }
            Ok(values) if run.thread.is_resumable() => match values.front().and_then(|value| value.as_string()) {
                Some(text) if &*text.as_bytes() == b"body" => Some(Waits::Body),
                Some(text) if &*text.as_bytes() == b"chunk" => Some(Waits::Chunk),
                Some(text) if &*text.as_bytes() == b"trailers" => Some(Waits::Trailers),
                Some(text) if &*text.as_bytes() == b"call" => Some(Waits::Call),
                _ => {
                    self.failed(cx, &mlua::Error::runtime("script performed an unexpected yield"));
                    None
                }
            },
            Ok(_) => None,
        };
        let message = &mut *shared.message.borrow_mut();
        let go_on = if std::mem::take(&mut message.replaced) { Step::Body(Buf::copy_of(&message.body)) } else { Step::Continue };
        let Some(waits) = waits else { return go_on };
        run.waits = waits;
        let step = match waits {
            Waits::Body => Step::Hold(Hold::Buffer),
            Waits::Chunk | Waits::Trailers => {
                message.passed = true;
                go_on
            }
            Waits::Call => {
                let (Some(request), Some(client)) = (call.take(), cx.worker.http_client()) else { return go_on };
                let sent = client.send(request);
                let filter = self.clone();
                return Step::wait(async move {
                    let came = sent.await;
                    move |cx: &mut StreamCx| filter.answered(cx, run, came)
                });
            }
        };
        *cx.state(&self.state).of(shared.side) = Some(run);
        step
    }

    /// The answer to a call is in.
    fn answered(self: &Arc<Self>, cx: &mut StreamCx, run: Run, came: Result<nuncio_core::ClientResponse, nuncio_core::ClientFailure>) -> Step {
        let answer = match came {
            Ok(came) => {
                let fields = came.head.iter().map(|field| (String::from_utf8_lossy(field.name).into_owned(), field.value.to_vec()));
                (fields.collect(), came.body)
            }
            Err(_) => (vec![(":status".to_owned(), b"503".to_vec())], b"upstream failure".to_vec()),
        };
        run.shared.asked.borrow_mut().answer = Some(answer);
        self.resume(cx, run, ())
    }

    fn data(self: &Arc<Self>, cx: &mut StreamCx, side: Side, data: &mut Buf, end: bool) -> Step {
        let Some(run) = cx.held_state(&self.state).and_then(|state| state.of(side).take()) else { return Step::Continue };
        let shared = run.shared.clone();
        shared.message.borrow_mut().ended |= end;
        match run.waits {
            Waits::Body => {
                shared.message.borrow_mut().body.extend_from_slice(data.filled());
                if !end {
                    *cx.state(&self.state).of(side) = Some(run);
                    return Step::Hold(Hold::Buffer);
                }
                shared.message.borrow_mut().whole = true;
                self.resume(cx, run, ())
            }
            Waits::Chunk => {
                shared.message.borrow_mut().chunk = Some(data.filled().to_vec());
                let step = self.resume(cx, run, ());
                let message = &mut *shared.message.borrow_mut();
                if std::mem::take(&mut message.changed) {
                    *data = Buf::copy_of(&message.current);
                }
                step
            }
            Waits::Trailers if end => self.resume(cx, run, ()),
            Waits::Trailers | Waits::Call => {
                *cx.state(&self.state).of(side) = Some(run);
                Step::Continue
            }
        }
    }

    fn trailers(self: &Arc<Self>, cx: &mut StreamCx, side: Side) -> Step {
        let Some(run) = cx.held_state(&self.state).and_then(|state| state.of(side).take()) else { return Step::Continue };
        {
            let message = &mut *run.shared.message.borrow_mut();
            (message.ended, message.trailers, message.whole) = (true, true, true);
        }
        self.resume(cx, run, ())
    }
}

impl HttpFilter for Lua {
    fn phases(&self) -> Phases {
        Phases::ALL
    }

    fn request_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        self.0.begin(cx, Side::Request, end)
    }

    fn request_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        self.0.data(cx, Side::Request, data, end)
    }

    fn request_trailers(&self, cx: &mut StreamCx) -> Step {
        self.0.trailers(cx, Side::Request)
    }

    fn response_headers(&self, cx: &mut StreamCx, end: bool) -> Step {
        self.0.begin(cx, Side::Response, end)
    }

    fn response_data(&self, cx: &mut StreamCx, data: &mut Buf, end: bool) -> Step {
        self.0.data(cx, Side::Response, data, end)
    }

    fn response_trailers(&self, cx: &mut StreamCx) -> Step {
        self.0.trailers(cx, Side::Response)
    }
}
