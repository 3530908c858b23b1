//! A context that may change while it is used: its secrets come from files (SDS), which rotate.
//!
//! Whoever makes a connection asks for the context as it is ([`Live::get`]); connections that were made stay as they are.
//! Somebody on the main thread calls [`Live::refresh`] again and again, which looks at the files and makes the context
//! anew when one of them has changed. What cannot be made leaves the old one in force.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

/// Makes a context from what the files say now.
pub type Make<T> = Box<dyn Fn() -> Made<T> + Send + Sync>;

/// What making came to.
pub struct Made<T> {
    /// The context, or why there is none.
    pub context: Result<T, String>,
    /// The files it depends on.
    pub files: Vec<PathBuf>,
}

/// What a file was like when it was looked at.
type Seen = Option<(SystemTime, u64, u64)>;

/// A context that is there, comes, or changes.
pub struct Live<T> {
    current: RwLock<Option<Arc<T>>>,
    make: Option<Make<T>>,
    seen: Mutex<Vec<(PathBuf, Seen)>>,
    /// Names of the secrets that come from files.
    secrets: Vec<String>,
    /// What it was configured by; equal ones are the same context.
    identity: Vec<u8>,
    /// Why there is none, or the latest is not in force.
    trouble: Mutex<Option<String>>,
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({:?})", self.secrets)
    }
}

impl<T> PartialEq for Live<T> {
    fn eq(&self, other: &Live<T>) -> bool {
        self.identity == other.identity
    }
}

impl<T> Live<T> {
    /// One that never changes. `identity` stands for all that it was made of.
    pub fn fixed(context: T, identity: Vec<u8>) -> Arc<Live<T>> {
        Arc::new(Live {
            current: RwLock::new(Some(Arc::new(context))),
            make: None,
            seen: Mutex::default(),
            secrets: Vec::new(),
            identity,
            trouble: Mutex::default(),
        })
    }

    /// One with secrets of these names from files. It is made at once, if it can be.
    pub fn of_files(secrets: Vec<String>, identity: Vec<u8>, make: Make<T>) -> Arc<Live<T>> {
        let live = Live {
            current: RwLock::new(None),
            make: Some(make),
            seen: Mutex::default(),
            secrets,
            identity,
            trouble: Mutex::default(),
        };
        // What went wrong is kept as its trouble.
        let _ = live.remake();
        Arc::new(live)
    }

    /// The context now; `None` while a secret is missing.
    pub fn get(&self) -> Option<Arc<T>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Names of the secrets that come from files.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// Why there is no context, or why the latest change is not in force.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes it anew if a file has changed: what that came to, or `None` if nothing has changed.
    pub fn refresh(&self) -> Option<Result<(), String>> {
        self.make.as_ref()?;
        let changed = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.iter().any(|(path, before)| look(path) != *before)
        };
        changed.then(|| self.remake())
    }

    fn remake(&self) -> Result<(), String> {
        let Some(make) = &self.make else { return Ok(()) };
        let before: Vec<_> = {
            let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.iter().map(|(path, _)| (path.clone(), look(path))).collect()
        };
        let Made { context, files } = make();
        // What a file was like before it was read, where that is known: a change in between is seen next time.
        let known = |path: &PathBuf| before.iter().find(|(of, _)| of == path).map_or_else(|| look(path), |(_, seen)| *seen);
        let files = files.into_iter().map(|path| (known(&path), path)).map(|(seen, path)| (path, seen)).collect();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = files;
        let outcome = context.map(|context| {
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(context));
        });
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = outcome.as_ref().err().cloned();
        outcome
    }
}

/// Links are followed: a directory that is swapped by its link is another file.
fn look(path: &PathBuf) -> Seen {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_makes_it_anew_and_one_that_is_spoilt_does_not() {
        let directory = std::env::temp_dir().join(format!("nuncio-live-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let (file, new) = (directory.join("secret"), directory.join("new"));
        let write = |text: &str| {
            std::fs::write(&new, text).expect("written");
            std::fs::rename(&new, &file).expect("moved");
        };
        let read = file.clone();
        let make = move || Made {
            context: std::fs::read_to_string(&read).map_err(|error| error.to_string()).and_then(|text| match text.as_str() {
                "bad" => Err("it is bad".to_owned()),
                _ => Ok(text),
            }),
            files: vec![read.clone()],
        };
        let live = Live::of_files(vec!["s".into()], Vec::new(), Box::new(make));
        assert_eq!(live.get(), None);
        assert!(live.trouble().is_some());
        write("one");
        assert_eq!(live.refresh(), Some(Ok(())));
        assert_eq!((live.get().as_deref().map(String::as_str), live.refresh(), live.trouble()), (Some("one"), None, None));
        write("bad");
        assert_eq!(live.refresh(), Some(Err("it is bad".to_owned())));
        assert_eq!((live.get().as_deref().map(String::as_str), live.refresh()), (Some("one"), None));
        write("two");
        assert_eq!(live.refresh(), Some(Ok(())));
        assert_eq!(live.get().as_deref().map(String::as_str), Some("two"));
        std::fs::remove_dir_all(directory).expect("removed");
    }
}
