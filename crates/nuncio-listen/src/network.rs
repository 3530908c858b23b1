//! Network filters at work: those that stand before the filter that ends a chain.
//!
//! [`NetworkChain::accept`] asks them about the new connection before its transport is greeted; [`NetworkChain::run`]
//! serves it, with a [`Watched`] stream between the transport and the last filter where any of them wants to be asked
//! about bytes. Filters are asked in order, each after the one before has let the connection go on.
//!
//! Chains without such filters do not come here.

use nuncio_core::{ConnInfo, DataWatch, LeftByFilters, NetworkFilter, NetworkStep, StreamCx, Worker, network::NetworkApply};
use nuncio_rt::{Buf, ByteStream, Io};
use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The filters of one connection.
pub(crate) struct NetworkChain {
    filters: Arc<[Arc<dyn NetworkFilter>]>,
    cx: RefCell<StreamCx>,
    left: Rc<LeftByFilters>,
    closed: Cell<bool>,
}

impl NetworkChain {
    pub(crate) fn new(filters: &Arc<[Arc<dyn NetworkFilter>]>, worker: &Rc<Worker>, info: &Rc<ConnInfo>) -> Rc<NetworkChain> {
        let mut cx = StreamCx::new(worker.clone(), info.clone());
        cx.info.start = info.start;
        cx.info.protocol = nuncio_core::Protocol::None;
        let left = LeftByFilters::at(info);
        // What listener filters have left.
        left.tell(&mut cx);
        Rc::new(NetworkChain { filters: filters.clone(), cx: RefCell::new(cx), left, closed: Cell::new(false) })
    }

    /// Asks all filters about the new connection; false if it is to be closed.
    pub(crate) async fn accept(&self) -> bool {
        for filter in self.filters.iter() {
            let mut step = filter.on_new_connection(&mut self.cx.borrow_mut());
            while let NetworkStep::Wait(answer) = step {
                let apply = answer.await;
                step = apply(&mut self.cx.borrow_mut());
            }
            self.left.leave(&self.cx.borrow());
            if matches!(step, NetworkStep::Close) {
                return false;
            }
        }
        true
    }

    /// The handshake is done: the connection is `info` from now on.
    pub(crate) fn greeted(&self, info: &Rc<ConnInfo>) {
        let mut cx = self.cx.borrow_mut();
        cx.conn = info.clone();
        self.filters.iter().for_each(|filter| filter.on_handshake(&mut cx));
        self.left.leave(&cx);
    }

    /// The stream as the last filter is to read it, `first` being what was read of it already.
    pub(crate) fn watched(self: &Rc<Self>, io: Io, first: Option<Buf>) -> (Io, Option<Buf>) {
        let watch = self.filters.iter().map(|filter| filter.watches()).max().unwrap_or(DataWatch::Never);
        if watch == DataWatch::Never {
            return (io, first);
        }
        let stage = if first.is_some() { Stage::Asking(0) } else { Stage::Quiet };
        (Io::Layered(Box::new(Watched { io, held: first, ended: false, asked: false, stage, chain: self.clone(), watch })), None)
    }

    /// Serves the connection until it ends or a filter closes it.
    pub(crate) async fn run(&self, served: impl Future<Output = ()>) {
        let mut served = pin!(served);
        poll_fn(|cx| match served.as_mut().poll(cx) {
            Poll::Pending if !self.closed.get() => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Asks the filter at `index` about bytes; `first` if they are the first.
    fn ask(&self, index: usize, first: bool) -> Option<NetworkStep> {
        let filter = self.filters.get(index)?;
        let wanted = match filter.watches() {
            DataWatch::Never => false,
            DataWatch::First => first,
            DataWatch::Always => true,
        };
        let step = if wanted { filter.on_data(&mut self.cx.borrow_mut()) } else { NetworkStep::Continue };
        self.left.leave(&self.cx.borrow());
        Some(step)
    }

    fn apply(&self, apply: NetworkApply) -> NetworkStep {
        let step = apply(&mut self.cx.borrow_mut());
        self.left.leave(&self.cx.borrow());
        step
    }
}

/// Where bytes are on their way past the filters.
enum Stage {
    /// None are there.
    Quiet,
    /// This filter is to be asked.
    Asking(usize),
    /// This filter waits for an answer.
    Waiting(usize, nuncio_core::LocalFuture<NetworkApply>),
    /// They may be read.
    Free,
    /// A filter has closed the connection.
    Closed,
}

/// A stream whose bytes filters are asked about before anybody reads them.
struct Watched {
    io: Io,
    /// What was read and waits for a verdict, or for its reader.
    held: Option<Buf>,
    /// The client has finished.
    ended: bool,
    /// Filters were asked once.
    asked: bool,
    stage: Stage,
    chain: Rc<NetworkChain>,
    watch: DataWatch,
}

impl Watched {
    fn step(&mut self, index: usize, step: NetworkStep) {
        self.stage = match step {
            NetworkStep::Continue => Stage::Asking(index + 1),
            NetworkStep::Wait(answer) => Stage::Waiting(index, answer),
            NetworkStep::Close => {
                self.chain.closed.set(true);
                Stage::Closed
            }
        };
    }

    /// True once nobody need be asked any more.
    fn is_open(&self) -> bool {
        self.asked && self.watch == DataWatch::First && self.held.is_none()
    }

    /// Gets bytes past the filters.
    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.stage {
                Stage::Free => return Poll::Ready(Ok(())),
                Stage::Closed => return Poll::Pending,
                Stage::Quiet => {
                    ready!(self.io.poll_read_ready(cx))?;
                    let bufs = self.chain.cx.borrow().worker.bufs.clone();
                    let mut buf = bufs.get();
                    let read = self.io.poll_read(cx, &mut buf);
                    if buf.is_empty() {
                        bufs.put(buf);
                    } else {
                        self.held = Some(buf);
                    }
                    let read = ready!(read)?;
                    self.chain.left.unseen(read as i64);
                    self.ended = read == 0;
                    self.stage = Stage::Asking(0);
                }
                Stage::Asking(index) => {
                    let index = *index;
                    match self.chain.ask(index, !self.asked) {
                        Some(step) => self.step(index, step),
                        None => {
                            self.asked = true;
                            self.stage = Stage::Free;
                        }
                    }
                }
                Stage::Waiting(index, answer) => {
                    let index = *index;
                    let apply = ready!(answer.as_mut().poll(cx));
                    let step = self.chain.apply(apply);
                    self.step(index, step);
                }
            }
        }
    }
}

impl ByteStream for Watched {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_open() { if self.ended { Poll::Ready(Ok(())) } else { self.io.poll_read_ready(cx) } } else { self.poll_free(cx) }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.is_open() {
            return if self.ended { Poll::Ready(Ok(0)) } else { self.io.poll_read_slice(cx, into) };
        }
        ready!(self.poll_free(cx))?;
        let Some(held) = &mut self.held else { return Poll::Ready(Ok(0)) };
        let n = held.len().min(into.len());
        into[..n].copy_from_slice(&held.filled()[..n]);
        held.consume(n);
        self.chain.left.unseen(-(n as i64));
        if held.is_empty() {
            let bufs = self.chain.cx.borrow().worker.bufs.clone();
            self.held.take().into_iter().for_each(|empty| bufs.put(empty));
            self.stage = Stage::Quiet;
        }
        Poll::Ready(Ok(n))
    }

    fn poll_writev(&mut self, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.io.poll_writev(cx, bytes)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let bufs = self.chain.cx.borrow().worker.bufs.clone();
        self.held.take().into_iter().for_each(|held| bufs.put(held));
    }
}
