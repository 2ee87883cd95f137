//! The server: connections with bounds and timeouts, and an orderly end.

use crate::authenticate::Authenticate;
use crate::config::ServerConfig;
use crate::extract::PeerAddress;
use crate::host::ApiHosts;
use crate::metrics;
use crate::openapi;
use crate::paths;
use crate::patience::{Patient, Progress};
use crate::refusal::Ids;
use crate::state::AppState;
use crate::unread::{Leaving, Sizes, Unread};
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tollgate_core::failpoint::{self, Point};
use tollgate_core::limits;
use tollgate_core::platform::Platform;
use tollgate_core::services::Services;
use tollgate_core::supervise::Supervisor;
use tower::{Service, ServiceExt as _};

/// After a failed accept (usually: no file descriptor left) the next one waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the last answers may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often measurements are put in order between two readings.
const UPKEEP: Duration = Duration::from_secs(5);

/// The HTTP server.
pub struct Server {
    state: AppState,
    routes: Routes,
    ids: Ids,
}

/// The routes of events, functions, invocations and secrets for another program, which keeps accounts itself. They stand below
/// `/api/`; the program may nest them under a prefix of its own. They also answer what its functions ask for, as long as
/// the router lives.
pub fn embedded(services: &Arc<Services>, authenticate: Arc<dyn Authenticate>) -> Router {
    let state = AppState::embedded(Arc::clone(services), authenticate);
    let routes = serve_functions(services, openapi::embedded(state));
    Router::new().fallback_service(Routes(routes))
}

/// Lets functions reach the routes.
fn serve_functions(services: &Arc<Services>, routes: Router) -> Arc<Router> {
    let routes = Arc::new(routes);
    services.serve_functions(Arc::new(ApiHosts {
        routes: Arc::downgrade(&routes),
        services: Arc::downgrade(services),
    }));
    routes
}

impl Server {
    /// A server for `platform`, which also answers what its functions ask for, as long as the
    /// server lives.
    pub fn new(config: ServerConfig, platform: Arc<Platform>) -> Self {
        let services = Arc::clone(platform.services());
        let state = AppState::new(platform, config);
        let routes = serve_functions(&services, openapi::router(state.clone()));
        let of_ids = state.clone();
        Self {
            state,
            routes: Routes(routes),
            ids: Arc::new(move || of_ids.next_request_id()),
        }
    }

    /// All routes, for requests that come from this process.
    pub fn router(&self) -> Router {
        Router::new().fallback_service(self.routes.clone())
    }

    /// Serves connections until `shutdown` ends, then lets open requests finish for as long as
    /// the configured grace.
    pub async fn run(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(self.state.config().connections));
        let graceful = GracefulShutdown::new();
        let mut open = JoinSet::new();
        let supervisor = self.state.config().supervisor.group();
        supervisor.spawn(
            "metrics",
            background(self.state.clone(), supervisor.clone()),
        );
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                // Reaps ended connections while none arrives.
                Some(_) = open.join_next() => continue,
                () = &mut shutdown => break,
            };
            let Some((stream, address, place)) = accepted else {
                continue;
            };
            let connection = self.connection(stream, address);
            let connection = graceful.watch(connection);
            open.spawn(async move {
                metrics::connections(1.0);
                if let Err(error) = connection.await {
                    tracing::debug!(error = %error, "a connection ended: {error}");
                }
                metrics::connections(-1.0);
                drop(place);
            });
        }
        drop(listener);
        self.state.stop();
        supervisor.stop();
        let mut ended = std::pin::pin!(graceful.shutdown());
        let grace = tokio::time::timeout(self.state.config().grace, &mut ended);
        if grace.await.is_err() {
            tracing::warn!(
                open = open.len(),
                "requests were still open after the grace period"
            );
            // Whoever waits is told, and given a moment to hear it.
            self.state.give_up();
            let _ = tokio::time::timeout(LAST_WORDS, ended).await;
        }
        open.shutdown().await;
        supervisor.joined(LAST_WORDS).await;
    }

    fn connection(
        &self,
        stream: TcpStream,
        address: IpAddr,
    ) -> http1::Connection<TokioIo<Patient>, Connection> {
        let config = self.state.config();
        let progress = Progress::default();
        let ids = Arc::clone(&self.ids);
        let patient = Patient::new(stream, config.write_timeout, progress.clone(), ids);
        http1::Builder::new()
            .timer(TokioTimer::new())
            // Counted from the end of the request before, so it bounds idle connections too.
            .header_read_timeout(config.header_timeout)
            .max_header_size(limits::REQUEST_HEAD_BYTES)
            .keep_alive(true)
            // Who has ended their side may still want the answer; `Patient` looks whether they do.
            .half_close(true)
            .serve_connection(
                TokioIo::new(patient),
                Connection {
                    routes: self.routes.clone(),
                    address,
                    progress,
                },
            )
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, OwnedSemaphorePermit)> {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            // Without it, a small answer may wait for an acknowledgement.
            let _ = stream.set_nodelay(true);
            Some((stream, address.ip().to_canonical(), place))
        }
        Err(error) => {
            tracing::warn!(error = %error, "a connection could not be accepted: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Keeps measurements in order, and counts what happens to invocations.
async fn background(state: AppState, supervisor: Supervisor) {
    use tokio::sync::broadcast::error::RecvError;
    let recorder = metrics::recorder();
    let mut changes = state.services().invocations.watch();
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = supervisor.stopped() => return,
            _ = upkeep.tick() => {
                failpoint::hit(Point::LoopMetrics);
                recorder.run_upkeep();
            }
            change = changes.recv() => match change {
                Ok(change) => metrics::invocation(change.state),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// The router behind the spelling of paths.
#[derive(Clone)]
struct Routes(Arc<Router>);

impl Service<Request> for Routes {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        if let Some(uri) = paths::routed(request.uri()) {
            let asked = std::mem::replace(request.uri_mut(), uri);
            request.extensions_mut().insert(paths::Asked(asked));
        }
        Box::pin(Router::clone(&self.0).oneshot(request))
    }
}

/// The service of one connection.
struct Connection {
    routes: Routes,
    address: IpAddr,
    progress: Progress,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Connection {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let progress = self.progress.clone();
        progress.waiting();
        let unread = Unread::new(progress.clone());
        let sizes = Sizes::of(request.headers());
        let mut request = request.map(|body| unread.lend(body));
        request.extensions_mut().insert(PeerAddress(self.address));
        let answer = self.routes.clone().call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            unread.settle(&sizes, &mut response).await;
            progress.answering();
            Ok(response.map(|body| Leaving::around(body, progress)))
        })
    }
}
