//! Files of endpoints: read as the configuration is, and what is refused goes to the log.

use nuncio_config::EdsFiles;
use nuncio_upstream::config::EdsConfig;
use nuncio_upstream::{EndpointFiles, FileFault, ReadEndpoints};

/// Reads them.
pub(super) struct Files(pub(super) EdsFiles);

impl EndpointFiles for Files {
    fn read(&self, cluster: &str, eds: &EdsConfig) -> Result<ReadEndpoints, FileFault> {
        self.0.read(cluster, eds)
    }

    fn refused(&self, cluster: &str, eds: &EdsConfig, why: &str) {
        log::warn!(target: "config", "cluster {cluster} goes on without {}: {why}", eds.path.display());
    }
}
