//! Hosts that send a command elsewhere (`enable_redirection`): `MOVED` and `ASK` of Redis Cluster.

use crate::{
    client::{Handle, Outcome},
    dispatch::Dispatch,
    pool::Upstream,
};
use nuncio_codec::resp::Value;
use nuncio_stats::tables::cluster::{UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL, UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL};
use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    task::{Context, Poll, ready},
};

/// Hosts may send a command on so often: they may send it in circles.
const HOPS_MAX: u32 = 16;

/// A command on its way.
pub(crate) struct Errand {
    handle: Handle,
    again: Option<Again>,
}

/// What is needed to send it again.
struct Again {
    upstream: Rc<Upstream>,
    name: String,
    words: Vec<Vec<u8>>,
    hops: u32,
}

impl Errand {
    /// One that hosts may send elsewhere, if that is configured.
    pub(crate) fn new(handle: Handle, upstream: &Rc<Upstream>, name: &str, words: &[Vec<u8>]) -> Errand {
        let again = upstream.redirects().then(|| Again { upstream: upstream.clone(), name: name.to_owned(), words: words.to_vec(), hops: 0 });
        Errand { handle, again }
    }

    /// One that stays where it is sent.
    pub(crate) fn fixed(handle: Handle) -> Errand {
        Errand { handle, again: None }
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Outcome> {
        loop {
            let outcome = ready!(self.handle.poll(cx));
            let next = match (&outcome, &mut self.again) {
                (Some(Value::Error(said)), Some(again)) => again.follow(said),
                _ => None,
            };
            match next {
                Some(handle) => self.handle = handle,
                None => return Poll::Ready(outcome),
            }
        }
    }
}

impl Again {
    /// Sends it where the host says; `None` if the host says nothing of the kind, or there is no way.
    fn follow(&mut self, said: &[u8]) -> Option<Handle> {
        let (ask, to) = parse(said)?;
        self.hops += 1;
        let client = to.filter(|_| self.hops <= HOPS_MAX).and_then(|to| self.upstream.at(to));
        let counted = if client.is_some() { UPSTREAM_INTERNAL_REDIRECT_SUCCEEDED_TOTAL } else { UPSTREAM_INTERNAL_REDIRECT_FAILED_TOTAL };
        self.upstream.inc(counted);
        let client = client?;
        if ask {
            client.send(|out| Dispatch::write(&[b"asking".to_vec()], out), self.upstream.counts("asking")).forget();
        }
        Some(client.send(|out| Dispatch::write(&self.words, out), self.upstream.counts(&self.name)))
    }
}

/// Whether it is `ASK`, and where to: `None` where that is a name.
fn parse(said: &[u8]) -> Option<(bool, Option<SocketAddr>)> {
    let mut words = std::str::from_utf8(said).ok()?.split_ascii_whitespace();
    let ask = match words.next()? {
        "MOVED" => false,
        "ASK" => true,
        _ => return None,
    };
    let (_slot, to) = (words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    // Addresses of version 6 stand without brackets.
    let address = to.rsplit_once(':').and_then(|(ip, port)| {
        let ip: IpAddr = ip.trim_matches(['[', ']']).parse().ok()?;
        Some(SocketAddr::new(ip, port.parse().ok()?))
    });
    Some((ask, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_say_where_to_in_three_words() {
        let to = |text: &str| Some(text.parse().unwrap());
        assert_eq!(parse(b"MOVED 3999 127.0.0.1:6381"), Some((false, to("127.0.0.1:6381"))));
        assert_eq!(parse(b"ASK 3999 ::1:6381"), Some((true, to("[::1]:6381"))));
        assert_eq!(parse(b"MOVED 1 redis.test:6381"), Some((false, None)));
        for other in [&b"MOVED 1"[..], b"MOVED 1 127.0.0.1:1 more", b"ERR unknown", b"", b"\xff"] {
            assert_eq!(parse(other), None);
        }
    }
}
