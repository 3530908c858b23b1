//! What the system says about names: `/etc/resolv.conf` and `/etc/hosts`.
//!
//! Both are read again when they change, as a long-lived process must.

use std::{
    cell::RefCell,
    collections::HashMap,
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    rc::Rc,
    time::{Duration, SystemTime},
};

/// `/etc/resolv.conf`, as much as we honour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// Whom to ask, in order.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains tried with short names.
    pub(super) search: Vec<String>,
    /// A name with fewer dots than this is tried with the search domains first.
    pub(super) ndots: usize,
    /// How long to wait for one server.
    pub(super) timeout: Duration,
    /// How often every server is asked.
    pub(super) attempts: u32,
    /// Ask over TCP only.
    pub(super) use_tcp: bool,
    /// No server is named: the one that is asked is a guess.
    pub(super) names_none: bool,
}

impl Default for ResolvConf {
    fn default() -> Self {
        ResolvConf {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(2),
            attempts: 3,
            use_tcp: false,
            names_none: false,
        }
    }
}

impl ResolvConf {
    pub(super) fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf::default();
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|w| w.split('%').next()).and_then(|w| w.parse::<IpAddr>().ok());
                    conf.servers.extend(server.map(|ip| SocketAddr::new(ip, 53)));
                }
                Some("domain" | "search") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        conf.names_none = conf.servers.is_empty();
        if conf.names_none {
            conf.servers.push(SocketAddr::from(([127, 0, 0, 1], 53)));
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        let number = value.parse::<u32>().ok();
        match (name, number) {
            ("ndots", Some(n)) => self.ndots = n.min(15) as usize,
            ("timeout", Some(n)) => self.timeout = Duration::from_secs(u64::from(n.clamp(1, 30))),
            ("attempts", Some(n)) => self.attempts = n.clamp(1, 5),
            ("use-vc", _) => self.use_tcp = true,
            _ => {}
        }
    }
}

/// `/etc/hosts`: addresses by lower-case name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Hosts(HashMap<String, Vec<IpAddr>>);

impl Hosts {
    pub(super) fn parse(text: &str) -> Hosts {
        let mut hosts = Hosts::default();
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next().and_then(|w| w.split('%').next()).and_then(|w| w.parse().ok()) else {
                continue;
            };
            for name in words {
                let list = hosts.0.entry(name.to_ascii_lowercase()).or_default();
                if !list.contains(&address) {
                    list.push(address);
                }
            }
        }
        hosts
    }

    /// The addresses of `name`. `localhost` is the loopback whatever the file says (rfc6761#6.3).
    pub(super) fn lookup(&self, name: &str) -> Vec<IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let mut found = self.0.get(&name).cloned().unwrap_or_default();
        if name == "localhost" || name.ends_with(".localhost") {
            for loopback in [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])] {
                if !found.iter().any(|a| a.is_ipv4() == loopback.is_ipv4()) {
                    found.push(loopback);
                }
            }
        }
        found
    }
}

/// A file and what it was last parsed to.
#[derive(Debug)]
pub(super) struct Watched<T> {
    path: PathBuf,
    parse: fn(&str) -> T,
    last: RefCell<Option<(Option<SystemTime>, Rc<T>)>>,
}

impl<T> Watched<T> {
    pub(super) fn new(path: impl Into<PathBuf>, parse: fn(&str) -> T) -> Watched<T> {
        Watched { path: path.into(), parse, last: RefCell::new(None) }
    }

    /// The file's content now. A file that cannot be read counts as empty.
    pub(super) fn get(&self) -> Rc<T> {
        let changed = fs::metadata(&self.path).and_then(|m| m.modified()).ok();
        if let Some((then, content)) = &*self.last.borrow()
            && *then == changed
        {
            return content.clone();
        }
        let text = fs::read(&self.path).unwrap_or_else(|_: io::Error| Vec::new());
        let content = Rc::new((self.parse)(&String::from_utf8_lossy(&text)));
        *self.last.borrow_mut() = Some((changed, content.clone()));
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_resolvers_do() {
        let conf = ResolvConf::parse(
            "# c\nnameserver 10.0.0.2\nnameserver fe80::1%eth0 ; x\nsearch a.b c\noptions ndots:5 timeout:1 bogus use-vc\n",
        );
        assert_eq!(conf.servers, ["10.0.0.2:53", "[fe80::1]:53"].map(|s| s.parse().expect("an address")));
        assert_eq!((conf.search, conf.ndots), (vec!["a.b".to_owned(), "c".to_owned()], 5));
        assert_eq!((conf.timeout, conf.attempts, conf.use_tcp), (Duration::from_secs(1), 3, true));
        assert_eq!(ResolvConf::parse("").servers.len(), 1);
    }

    #[test]
    fn hosts_are_found_by_any_of_their_names() {
        let hosts = Hosts::parse("127.0.0.1 localhost\n10.1.1.1  Db db.local # x\n10.1.1.2 db\nnonsense db\n");
        let ip = |s: &str| s.parse::<IpAddr>().expect("an address");
        assert_eq!(hosts.lookup("DB"), [ip("10.1.1.1"), ip("10.1.1.2")]);
        assert_eq!(hosts.lookup("db.local."), [ip("10.1.1.1")]);
        assert_eq!(hosts.lookup("localhost"), [ip("127.0.0.1"), ip("::1")]);
        assert!(hosts.lookup("other").is_empty());
    }
}
