//! The main thread's client: it has no clusters of its own, and no need of them before something there asks a service.
//!
//! The first request makes what every worker has from the start: the table of clusters, kept current from then on.

use super::Client;
use nuncio_core::{
    ClientFailure, ClientRequest, ClientResponse, ClientStream, ConnInfo, HttpClient, HttpClientPart, LocalFuture, StreamRequest, Worker,
};
use nuncio_upstream::{ClusterManager, WorkerClusters};
use std::{
    cell::OnceCell,
    rc::{Rc, Weak},
    sync::Arc,
};

struct OnDemand {
    worker: Weak<Worker>,
    manager: ClusterManager,
    /// The client, and the clusters that only it keeps.
    made: OnceCell<Option<(Client, Rc<WorkerClusters>)>>,
}

/// Leaves a client among the parts of the main thread's worker. Must be called, and asked, on the main thread's executor.
pub fn install_on_demand(worker: &Rc<Worker>, manager: &ClusterManager) {
    let client = OnDemand { worker: Rc::downgrade(worker), manager: manager.clone(), made: OnceCell::new() };
    worker.parts.set(Rc::new(HttpClientPart(Rc::new(client))));
}

impl OnDemand {
    fn client(&self) -> Option<&Client> {
        let made = self.made.get_or_init(|| {
            let worker = self.worker.upgrade()?;
            nuncio_rt::spawn(worker.timers.clone().drive());
            let clusters = WorkerClusters::start(&worker);
            let mut updates = self.manager.subscribe();
            while let Ok(update) = updates.try_recv() {
                clusters.apply(update);
            }
            nuncio_rt::spawn(clusters.clone().follow(updates));
            let client = Client { worker: self.worker.clone(), clusters: Rc::downgrade(&clusters), conn: Rc::new(ConnInfo::nobody()) };
            Some((client, clusters))
        });
        made.as_ref().map(|(client, _)| client)
    }
}

impl HttpClient for OnDemand {
    fn send(&self, request: ClientRequest) -> LocalFuture<Result<ClientResponse, ClientFailure>> {
        match self.client() {
            Some(client) => client.send(request),
            None => Box::pin(std::future::ready(Err(ClientFailure::NoCluster))),
        }
    }

    fn open(&self, request: StreamRequest) -> Result<Box<dyn ClientStream>, ClientFailure> {
        self.client().ok_or(ClientFailure::NoCluster)?.open(request)
    }

    fn stat_name(&self, cluster: &str) -> Option<Arc<str>> {
        self.client()?.stat_name(cluster)
    }

    fn charge(&self, cluster: &str, status: u16, internal: bool) {
        if let Some(client) = self.client() {
            client.charge(cluster, status, internal);
        }
    }
}
