//! What a script's objects look at: the exchange, lent to them while the script runs.

use nuncio_core::{ClientRequest, LocalReply, StreamCx};
use std::{cell::RefCell, rc::Rc};

/// Which side of the exchange a script runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Request,
    Response,
}

/// What of the message has come.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The head, or the data, was the end.
    pub(super) ended: bool,
    /// Its trailers are here.
    pub(super) trailers: bool,
    /// The body, whole, once it was waited for; before that what came of it.
    pub(super) body: Vec<u8>,
    pub(super) whole: bool,
    /// The script has put another body in its place.
    pub(super) replaced: bool,
    /// The script reads the body piece by piece: this is the piece.
    pub(super) streamed: bool,
    pub(super) chunk: Option<Vec<u8>>,
    /// The piece that the script looks at, and whether it has put another in its place.
    pub(super) current: Vec<u8>,
    pub(super) changed: bool,
    /// Some of the body has gone on.
    pub(super) passed: bool,
}

/// What the script asked the filter for.
#[derive(Default)]
pub(super) struct Asked {
    pub(super) reply: Option<Box<LocalReply>>,
    pub(super) call: Option<ClientRequest>,
    /// A call whose answer nobody waits for.
    pub(super) calls_aside: Vec<ClientRequest>,
    /// The answer to the call.
    pub(super) answer: Option<(Vec<(String, Vec<u8>)>, Vec<u8>)>,
    /// Headers of the answer that come several times are told as lists.
    pub(super) all_values: bool,
    /// Request headers were changed.
    pub(super) changed: bool,
}

/// The exchange as a script's objects see it.
pub(super) struct Shared {
    pub(super) side: Side,
    /// Name of the filter, under which routes have metadata for it.
    pub(super) filter: Box<str>,
    pub(super) cx: RefCell<Option<StreamCx>>,
    pub(super) message: RefCell<Message>,
    pub(super) asked: RefCell<Asked>,
}

impl Shared {
    pub(super) fn new(side: Side, filter: &str, ended: bool) -> Rc<Shared> {
        let message = RefCell::new(Message { ended, ..Message::default() });
        Rc::new(Shared { side, filter: filter.into(), cx: RefCell::new(None), message, asked: RefCell::default() })
    }

    /// Looks at the exchange; an error when the script has kept an object beyond its time.
    pub(super) fn with<T>(&self, look: impl FnOnce(&mut StreamCx) -> T) -> mlua::Result<T> {
        let mut cx = self.cx.try_borrow_mut().map_err(mlua::Error::external)?;
        cx.as_mut().map(look).ok_or_else(|| mlua::Error::runtime("object used outside of proper scope"))
    }

    /// Lends the exchange out while `run` runs.
    pub(super) fn lend<T>(&self, cx: &mut StreamCx, run: impl FnOnce() -> T) -> T {
        let stand_in = StreamCx::new(cx.worker.clone(), cx.conn.clone());
        self.cx.replace(Some(std::mem::replace(cx, stand_in)));
        let done = run();
        if let Some(back) = self.cx.take() {
            *cx = back;
        }
        done
    }
}
