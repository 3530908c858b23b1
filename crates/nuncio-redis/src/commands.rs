//! Which commands there are, and what becomes of each.

/// What becomes of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To the host of its first argument.
    Simple,
    /// To the host of its second argument (`OBJECT ENCODING key`).
    Object,
    /// To the host of its third argument (`EVAL script 1 key`).
    Eval,
    /// A GET for each key.
    Mget,
    /// A SET for each pair.
    Mset,
    /// One for each key; numbers are added up.
    Sum,
    /// MULTI, EXEC, DISCARD, WATCH, UNWATCH.
    Transaction,
    /// HELLO: answered here.
    Hello,
    /// To every host of the catch-all route (SCAN: of the route of its cursor); what becomes of answers: [`super::answer::Merge`].
    All,
    /// To any host.
    Any,
    /// `INFO.SHARD n`: to the host of this number.
    Shard,
}

use Kind::*;

/// All of them, in lower case.
pub(crate) const ALL: &[(&str, Kind)] = &[
    ("append", Simple), ("bf.add", Simple), ("bf.card", Simple), ("bf.exists", Simple), ("bf.info", Simple), ("bf.insert", Simple),
    ("bf.loadchunk", Simple), ("bf.madd", Simple), ("bf.mexists", Simple), ("bf.reserve", Simple), ("bf.scandump", Simple),
    ("bitcount", Simple), ("bitfield", Simple), ("bitfield_ro", Simple), ("bitop", Simple), ("bitpos", Simple), ("cluster", Any),
    ("config", All), ("copy", Simple), ("decr", Simple), ("decrby", Simple), ("del", Sum), ("discard", Transaction), ("dump", Simple),
    ("eval", Eval), ("evalsha", Eval), ("exec", Transaction), ("exists", Sum), ("expire", Simple), ("expireat", Simple),
    ("flushall", All), ("flushdb", All), ("geoadd", Simple), ("geodist", Simple), ("geohash", Simple), ("geopos", Simple),
    ("georadius", Simple), ("georadius_ro", Simple), ("georadiusbymember", Simple), ("georadiusbymember_ro", Simple),
    ("geosearch", Simple), ("geosearchstore", Simple), ("get", Simple), ("getbit", Simple), ("getdel", Simple), ("getex", Simple),
    ("getrange", Simple), ("getset", Simple), ("hdel", Simple), ("hello", Hello), ("hexists", Simple), ("hexpire", Simple),
    ("hexpireat", Simple), ("hexpiretime", Simple), ("hget", Simple), ("hgetall", Simple), ("hincrby", Simple), ("hincrbyfloat", Simple),
    ("hkeys", Simple), ("hlen", Simple), ("hmget", Simple), ("hmset", Simple), ("hpersist", Simple), ("hpexpire", Simple),
    ("hpexpireat", Simple), ("hpexpiretime", Simple), ("hpttl", Simple), ("hrandfield", Simple), ("hscan", Simple), ("hset", Simple),
    ("hsetnx", Simple), ("hstrlen", Simple), ("httl", Simple), ("hvals", Simple), ("incr", Simple), ("incrby", Simple),
    ("incrbyfloat", Simple), ("info", All), ("info.shard", Shard), ("keys", All), ("lindex", Simple), ("linsert", Simple), ("llen", Simple),
    ("lmove", Simple), ("lpop", Simple), ("lpos", Simple), ("lpush", Simple), ("lpushx", Simple), ("lrange", Simple), ("lrem", Simple),
    ("lset", Simple), ("ltrim", Simple), ("mget", Mget), ("mset", Mset), ("msetnx", Simple), ("multi", Transaction), ("object", Object),
    ("persist", Simple), ("pexpire", Simple), ("pexpireat", Simple), ("pfadd", Simple), ("pfcount", Simple), ("pfmerge", Simple),
    ("psetex", Simple), ("pttl", Simple), ("publish", Simple), ("randomkey", Any), ("rename", Simple), ("renamenx", Simple),
    ("restore", Simple), ("role", All), ("rpop", Simple), ("rpoplpush", Simple), ("rpush", Simple), ("rpushx", Simple), ("sadd", Simple),
    ("scan", All), ("scard", Simple), ("script", All), ("sdiff", Simple), ("sdiffstore", Simple), ("select", All), ("set", Simple),
    ("setbit", Simple), ("setex", Simple), ("setnx", Simple), ("setrange", Simple), ("sinter", Simple), ("sinterstore", Simple),
    ("sismember", Simple), ("slowlog", All), ("smembers", Simple), ("smismember", Simple), ("smove", Simple), ("sort", Simple),
    ("sort_ro", Simple), ("spop", Simple), ("srandmember", Simple), ("srem", Simple), ("sscan", Simple), ("strlen", Simple),
    ("substr", Simple), ("sunion", Simple), ("sunionstore", Simple), ("touch", Sum), ("ttl", Simple), ("type", Simple), ("unlink", Sum),
    ("unwatch", Transaction), ("watch", Transaction), ("xack", Simple), ("xadd", Simple), ("xautoclaim", Simple), ("xclaim", Simple),
    ("xdel", Simple), ("xlen", Simple), ("xpending", Simple), ("xrange", Simple), ("xrevrange", Simple), ("xtrim", Simple),
    ("zadd", Simple), ("zcard", Simple), ("zcount", Simple), ("zdiff", Simple), ("zdiffstore", Simple), ("zincrby", Simple),
    ("zinter", Simple), ("zinterstore", Simple), ("zlexcount", Simple), ("zmscore", Simple), ("zpopmax", Simple), ("zpopmin", Simple),
    ("zrandmember", Simple), ("zrange", Simple), ("zrangebylex", Simple), ("zrangebyscore", Simple), ("zrangestore", Simple),
    ("zrank", Simple), ("zrem", Simple), ("zremrangebylex", Simple), ("zremrangebyrank", Simple), ("zremrangebyscore", Simple),
    ("zrevrange", Simple), ("zrevrangebylex", Simple), ("zrevrangebyscore", Simple), ("zrevrank", Simple), ("zscan", Simple),
    ("zscore", Simple), ("zunion", Simple), ("zunionstore", Simple),
];

/// Commands that change something, as far as mirrors and `read_command_policy` are concerned.
const WRITES: &[&str] = &[
    "append", "bitfield", "decr", "decrby", "del", "discard", "eval", "evalsha", "exec", "expire", "expireat", "geoadd", "getdel", "hdel",
    "hincrby", "hincrbyfloat", "hmset", "hset", "hsetnx", "incr", "incrby", "incrbyfloat", "linsert", "lmove", "lpop", "lpush", "lpushx",
    "lrem", "lset", "ltrim", "mset", "multi", "persist", "pexpire", "pexpireat", "pfadd", "psetex", "restore", "rpop", "rpush", "rpushx",
    "sadd", "set", "setbit", "setex", "setnx", "setrange", "spop", "srem", "touch", "unlink", "zadd", "zincrby", "zpopmax", "zpopmin",
    "zrem", "zremrangebylex", "zremrangebyrank", "zremrangebyscore",
];

/// Whether a command, in lower case, changes nothing.
pub(crate) fn is_read(command: &str) -> bool {
    WRITES.binary_search(&command).is_err()
}

/// The name under which a command counts in a cluster's statistics.
pub(crate) fn stat_name(command: &str) -> &'static str {
    match ALL.binary_search_by(|(name, _)| (*name).cmp(command)) {
        Ok(at) if !matches!(ALL[at].1, Object | Transaction) && command != "scan" => ALL[at].0,
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_in_order() {
        assert!(ALL.is_sorted_by(|(a, _), (b, _)| a < b));
        assert!(WRITES.is_sorted_by(|a, b| a < b));
        assert!(is_read("get") && !is_read("set"));
        assert_eq!((stat_name("get"), stat_name("scan"), stat_name("x")), ("get", "unknown", "unknown"));
    }
}
