//! A radix trie from byte strings to ascending numbers, built once and then only read.
//!
//! It answers two questions without allocating: which entries stand on the way along a path (routes), and which is
//! the deepest entry on that way (wildcard domains). Nodes, labels and entries are three flat arrays: about forty
//! bytes per key, and a walk touches one node per branching, not one per byte.

/// A string to be found, and what is found under it.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) bytes: Box<[u8]>,
    pub(super) entry: u32,
    /// Found only where the walk ends with the key; else wherever it passes.
    pub(super) ends: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    label_at: u32,
    label_len: u32,
    children_at: u32,
    children: u32,
    /// Entries found in passing, then those found only at the end: `[entries_at..ends_at..entries_stop]`.
    entries_at: u32,
    ends_at: u32,
    entries_stop: u32,
}

#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// First byte of each node's label, so that a step looks at neighbouring bytes only.
    firsts: Vec<u8>,
    labels: Vec<u8>,
    entries: Vec<u32>,
}

/// A stretch of the sorted keys that share `depth` bytes and hang below a node.
struct Pending {
    node: usize,
    from: usize,
    to: usize,
    depth: usize,
}

impl Trie {
    /// Builds the trie. Entries of one key come out in ascending order.
    pub(super) fn build(mut keys: Vec<Key>) -> Trie {
        let mut trie = Trie::default();
        if keys.is_empty() {
            return trie;
        }
        keys.sort_unstable_by(|a, b| a.bytes.cmp(&b.bytes).then(a.entry.cmp(&b.entry)));
        trie.nodes.push(Node::default());
        trie.firsts.push(0);
        let mut queue = vec![Pending { node: 0, from: 0, to: keys.len(), depth: 0 }];
        while let Some(pending) = queue.pop() {
            trie.fill(&keys, &pending, &mut queue);
        }
        trie.nodes.shrink_to_fit();
        trie.firsts.shrink_to_fit();
        trie.labels.shrink_to_fit();
        trie
    }

    fn fill(&mut self, keys: &[Key], pending: &Pending, queue: &mut Vec<Pending>) {
        let &Pending { node, from, to, depth } = pending;
        // Shorter keys sort first: those that end here are a head of the stretch.
        let here = keys[from..to].partition_point(|key| key.bytes.len() == depth);
        let entries_at = self.entries.len();
        let (heads, rest) = keys[from..to].split_at(here);
        self.entries.extend(heads.iter().filter(|key| !key.ends).map(|key| key.entry));
        let ends_at = self.entries.len();
        self.entries.extend(heads.iter().filter(|key| key.ends).map(|key| key.entry));
        let children_at = self.nodes.len();
        let mut at = 0;
        while at < rest.len() {
            let byte = rest[at].bytes[depth];
            let len = rest[at..].partition_point(|key| key.bytes[depth] == byte);
            let label = &rest[at].bytes[depth..common(&rest[at].bytes, &rest[at + len - 1].bytes)];
            queue.push(Pending {
                node: self.nodes.len(),
                from: from + here + at,
                to: from + here + at + len,
                depth: depth + label.len(),
            });
            self.firsts.push(byte);
            self.nodes.push(Node {
                label_at: self.labels.len() as u32,
                label_len: label.len() as u32,
                ..Node::default()
            });
            self.labels.extend_from_slice(label);
            at += len;
        }
        let children = (self.nodes.len() - children_at) as u32;
        let entries_stop = self.entries.len() as u32;
        let filled = &mut self.nodes[node];
        (filled.children_at, filled.children) = (children_at as u32, children);
        (filled.entries_at, filled.ends_at, filled.entries_stop) = (entries_at as u32, ends_at as u32, entries_stop);
    }

    /// Walks along the string of `len` bytes that `byte` spells, and shows what it passes: the depth and the
    /// entries there. Entries that are found at the end only come with the depth `len`.
    #[inline]
    pub(super) fn walk<'t>(
        &'t self,
        len: usize,
        byte: impl Fn(usize) -> u8,
        mut visit: impl FnMut(usize, &'t [u32]),
    ) {
        let Some(mut node) = self.nodes.first() else { return };
        let mut depth = 0;
        loop {
            let passing = &self.entries[node.entries_at as usize..node.ends_at as usize];
            if !passing.is_empty() {
                visit(depth, passing);
            }
            if depth == len {
                let ending = &self.entries[node.ends_at as usize..node.entries_stop as usize];
                if !ending.is_empty() {
                    visit(depth, ending);
                }
                return;
            }
            let Some(child) = self.child(node, byte(depth)) else { return };
            let label = &self.labels[child.label_at as usize..(child.label_at + child.label_len) as usize];
            if label.len() > len - depth || (1..label.len()).any(|at| label[at] != byte(depth + at)) {
                return;
            }
            depth += label.len();
            node = child;
        }
    }

    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let from = node.children_at as usize;
        let firsts = &self.firsts[from..from + node.children as usize];
        let at = if firsts.len() <= 8 {
            firsts.iter().position(|&first| first == byte)?
        } else {
            firsts.binary_search(&byte).ok()?
        };
        self.nodes.get(from + at)
    }

    /// True when it holds no key.
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Bytes of memory it holds.
    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.entries.capacity() * size_of::<u32>()
            + self.labels.capacity()
            + self.firsts.capacity()
    }
}

/// Length of the common beginning.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(trie: &Trie, text: &str) -> Vec<(usize, Vec<u32>)> {
        let mut found = Vec::new();
        trie.walk(text.len(), |at| text.as_bytes()[at], |depth, entries| found.push((depth, entries.to_vec())));
        found
    }

    fn trie(keys: &[(&str, bool)]) -> Trie {
        Trie::build(
            keys.iter()
                .enumerate()
                .map(|(entry, (text, ends))| Key { bytes: text.as_bytes().into(), entry: entry as u32, ends: *ends })
                .collect(),
        )
    }

    #[test]
    fn a_walk_shows_what_it_passes_and_what_it_ends_at() {
        let trie = trie(&[("/a", false), ("/ab", true), ("/", false), ("/abc", false), ("/ab", false), ("", false)]);
        assert_eq!(found(&trie, "/abd"), [(0, vec![5]), (1, vec![2]), (2, vec![0]), (3, vec![4])]);
        assert_eq!(found(&trie, "/ab"), [(0, vec![5]), (1, vec![2]), (2, vec![0]), (3, vec![4]), (3, vec![1])]);
        assert_eq!(found(&trie, "x"), [(0, vec![5])]);
    }

    #[test]
    fn entries_of_one_key_are_ascending() {
        let trie = trie(&[("/x", false), ("/y", true), ("/x", false), ("/x", false), ("/y", true)]);
        assert_eq!(found(&trie, "/x"), [(2, vec![0, 2, 3])]);
        assert_eq!(found(&trie, "/y"), [(2, vec![1, 4])]);
        assert_eq!(found(&trie, "/yy"), []);
    }

    #[test]
    fn many_children_are_found_and_an_empty_trie_finds_nothing() {
        let keys: Vec<String> = (0..=255u8).map(|b| format!("/{}", char::from(b))).collect();
        let keys: Vec<(&str, bool)> = keys.iter().map(|key| (key.as_str(), false)).collect();
        let all = trie(&keys);
        for (n, (key, _)) in keys.iter().enumerate() {
            assert_eq!(found(&all, key).last(), Some(&(key.len(), vec![n as u32])), "{key:?}");
        }
        assert_eq!(found(&Trie::build(Vec::new()), "/"), []);
    }
}
