//! Loading.
use crate::cli::{CheckArgs, Options};
use nuncio_core::HttpFilterEntry;
use nuncio_ext::access_log::BackgroundFiles;
use nuncio_stats::Store;
use std::{process::ExitCode, sync::Arc};
pub(crate) struct Loaded { pub(crate) snapshot: nuncio_config::Snapshot, pub(crate) store: Arc<Store>, pub(crate) files: Arc<BackgroundFiles> }
pub(crate) fn load(_o: &Options, _f: &[HttpFilterEntry]) -> Result<Option<Loaded>, ExitCode> { Ok(None) }
pub(crate) fn check(_a: &CheckArgs, _f: &[HttpFilterEntry]) -> ExitCode { ExitCode::SUCCESS }
pub(crate) fn snapshot(_o: &Options, _s: &Arc<Store>, _f: &Arc<BackgroundFiles>) -> Result<nuncio_config::Snapshot, String> { Err(String::new()) }
