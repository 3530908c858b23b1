//! Posted messages: when they leave, in which order, and what becomes of those that cannot.

use crate::{Buf, BufPool, Io, OutQueue, block_on_worker};
use std::{
    future::poll_fn,
    io::{Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    task::{Context, Poll, Waker},
};

async fn pair() -> (Io, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (adopt(ours).await, theirs)
}

/// A socket that the event loop knows to be writable.
async fn adopt(socket: UnixStream) -> Io {
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UnixStream::from_std(socket).unwrap();
    socket.writable().await.unwrap();
    socket.into()
}

fn flush(out: &mut OutQueue, io: &mut Io) -> Poll<std::io::Result<()>> {
    out.poll_flush(&mut Context::from_waker(Waker::noop()), io, &mut 0)
}

fn read(from: &mut UnixStream, len: usize) -> String {
    let mut bytes = vec![0; len];
    from.read_exact(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_short_message_leaves_when_the_ready_tasks_have_run() {
    block_on_worker(async {
        let (mut io, mut peer) = pair().await;
        peer.set_nonblocking(true).unwrap();
        let mut out = OutQueue::new(Rc::default());
        out.copy(b"hello");
        assert!(flush(&mut out, &mut io).is_ready());
        assert!(peer.read(&mut [0; 8]).is_err(), "left at once");
        tokio::task::yield_now().await;
        assert_eq!(read(&mut peer, 5), "hello");
    })
    .unwrap();
}

#[test]
fn what_comes_behind_a_posted_message_stays_behind_it() {
    block_on_worker(async {
        let (mut io, mut peer) = pair().await;
        let mut out = OutQueue::new(Rc::default());
        out.copy(b"first,");
        assert!(flush(&mut out, &mut io).is_ready());
        out.copy(b"second,");
        assert!(flush(&mut out, &mut io).is_ready());
        out.push(Buf::copy_of(&[b'x'; 9000]));
        assert!(flush(&mut out, &mut io).is_ready());
        out.copy(b"last");
        assert!(flush(&mut out, &mut io).is_ready());
        poll_fn(|cx| io.poll_shutdown(cx)).await.unwrap();
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        assert_eq!(all, format!("first,second,{}last", "x".repeat(9000)));
    })
    .unwrap();
}

#[test]
fn a_message_outlives_its_socket() {
    block_on_worker(async {
        let (mut io, mut peer) = pair().await;
        let mut out = OutQueue::new(Rc::default());
        out.copy(b"bye");
        assert!(flush(&mut out, &mut io).is_ready());
        drop((io, out));
        tokio::task::yield_now().await;
        let mut all = String::new();
        peer.read_to_string(&mut all).unwrap();
        assert_eq!(all, "bye");
    })
    .unwrap();
}

#[test]
fn the_last_message_of_a_thread_leaves_too() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    block_on_worker(async {
        let mut io = adopt(ours).await;
        let mut out = OutQueue::new(Rc::default());
        out.copy(b"bye");
        assert!(flush(&mut out, &mut io).is_ready());
    })
    .unwrap();
    assert_eq!(read(&mut theirs, 3), "bye");
}

/// Fills the socket until it takes no more; what it has taken.
fn fill(io: &mut Io) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let block = vec![b'.'; 1 << 16];
    let mut taken = 0;
    while let Poll::Ready(n) = io.poll_writev(&mut cx, &[std::io::IoSlice::new(&block)]) {
        taken += n.unwrap();
    }
    taken
}

#[test]
fn messages_that_the_peer_does_not_take_arrive_in_order_and_hold_up_the_next_flush() {
    block_on_worker(async {
        let (mut io, mut peer) = pair().await;
        let taken = fill(&mut io);
        let pool = Rc::new(BufPool::default());
        let mut out = OutQueue::new(pool.clone());
        for message in ["one,", "two,"] {
            out.copy(message.as_bytes());
            assert!(flush(&mut out, &mut io).is_ready());
        }
        tokio::task::yield_now().await;
        out.copy(b"three");
        assert!(flush(&mut out, &mut io).is_pending());
        let reader = std::thread::spawn(move || read(&mut peer, taken + 13));
        poll_fn(|cx| out.poll_flush(cx, &mut io, &mut 0)).await.unwrap();
        drop((io, out));
        tokio::task::yield_now().await;
        assert!(reader.join().unwrap().ends_with(".one,two,three"));
    })
    .unwrap();
}

#[test]
fn a_held_up_socket_is_closed_when_its_owner_goes() {
    block_on_worker(async {
        let (mut io, mut peer) = pair().await;
        let taken = fill(&mut io);
        let mut out = OutQueue::new(Rc::default());
        out.copy(b"lost");
        assert!(flush(&mut out, &mut io).is_ready());
        tokio::task::yield_now().await;
        drop((io, out));
        tokio::task::yield_now().await;
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), taken);
    })
    .unwrap();
}

#[test]
fn a_message_that_fails_is_told_with_the_next_flush() {
    block_on_worker(async {
        let (mut io, peer) = pair().await;
        drop(peer);
        let mut out = OutQueue::new(Rc::default());
        out.copy(b"hello");
        assert!(flush(&mut out, &mut io).is_ready());
        tokio::task::yield_now().await;
        let Poll::Ready(Err(error)) = flush(&mut out, &mut io) else { panic!("nothing told") };
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    })
    .unwrap();
}

#[test]
fn a_short_read_empties_the_socket_and_a_later_one_waits() {
    block_on_worker(async {
        let (mut io, mut peer) = pair().await;
        peer.write_all(b"abc").unwrap();
        let mut buf = Buf::with_capacity(16);
        assert_eq!(poll_fn(|cx| io.poll_read(cx, &mut buf)).await.unwrap(), 3);
        assert!(io.is_quiet());
        peer.write_all(b"def").unwrap();
        assert_eq!(poll_fn(|cx| io.poll_read(cx, &mut buf)).await.unwrap(), 3);
        drop(peer);
        assert_eq!(poll_fn(|cx| io.poll_read(cx, &mut buf)).await.unwrap(), 0);
        assert_eq!(buf.filled(), b"abcdef");
    })
    .unwrap();
}
