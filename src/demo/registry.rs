//! An in-process schema registry that speaks as much of Confluent's protocol as a sink needs, for demo and tests.

use crate::demo::capture::CapturedSchema;
use crate::fault::{Class, Code, Fault};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the next requests get instead of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    /// Time that a request waits first.
    pub delay: Duration,
    /// Status to answer with; `None` answers properly after the delay.
    pub status: Option<u16>,
}

impl Outage {
    /// Answers at once with this status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { delay: Duration::ZERO, status: Some(status) }
    }

    /// Answers properly, but late.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self { delay, status: None }
    }
}

#[derive(Default)]
struct Shelf {
    by_id: BTreeMap<u32, String>,
    subjects: BTreeMap<String, BTreeMap<u32, u32>>,
    outage: Option<(u64, Outage)>,
}

#[derive(Default)]
struct Shared {
    shelf: Mutex<Shelf>,
    requests: AtomicU64,
    disturbed: AtomicU64,
}

impl Shared {
    /// A panic elsewhere cannot leave the shelf half written: each change is one insertion.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registry on a loopback port of its own, served by a thread of its own until dropped.
pub struct DemoRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl DemoRegistry {
    /// Starts an empty registry. Works inside and outside of an async runtime.
    ///
    /// # Errors
    /// Fatal when the loopback interface gives no port or the machine no thread.
    pub fn start() -> Result<Self, Fault> {
        let failed = |e: std::io::Error| {
            Fault::new(Class::Fatal, Code::Internal, format!("starting the demo registry: {e}"))
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let app = router(Arc::clone(&shared));
        let serve = async move {
            let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
            tokio::select! {
                _ = axum::serve(listener, app) => {}
                _ = stopped => {}
            }
        };
        let thread = std::thread::Builder::new()
            .name("demo-registry".to_owned())
            .spawn(move || runtime.block_on(serve))
            .map_err(failed)?;
        Ok(Self { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Base URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts captured schemas on the shelf under their own ids and versions.
    pub fn preload<'s>(&self, schemas: impl IntoIterator<Item = &'s CapturedSchema>) {
        let mut shelf = self.shared.shelf();
        for schema in schemas {
            shelf.by_id.insert(schema.id, schema.schema.clone());
            let first = (schema.subject.as_str(), schema.version);
            let also = schema.also.iter().map(|also| (also.subject.as_str(), also.version));
            for (subject, version) in std::iter::once(first).chain(also) {
                shelf.subjects.entry(subject.to_owned()).or_default().insert(version, schema.id);
            }
        }
    }

    /// Registers a schema, as `POST /subjects/{subject}/versions` does, and returns its id.
    #[must_use]
    pub fn register(&self, subject: &str, schema: &str) -> u32 {
        self.shared.shelf().register(subject, schema)
    }

    /// The next `requests` requests get this outage instead of their answer (`u64::MAX`: until [`Self::recover`]).
    pub fn disturb(&self, requests: u64, outage: Outage) {
        self.shared.shelf().outage = Some((requests, outage));
    }

    /// Ends an outage.
    pub fn recover(&self) {
        self.shared.shelf().outage = None;
    }

    /// Requests seen so far, disturbed ones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// Requests that met an outage, so that a test can assert that its fault happened.
    #[must_use]
    pub fn disturbed(&self) -> u64 {
        self.shared.disturbed.load(Ordering::SeqCst)
    }
}

impl Drop for DemoRegistry {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server thread has been printed already.
            drop(thread.join());
        }
    }
}

impl Shelf {
    fn register(&mut self, subject: &str, schema: &str) -> u32 {
        let known = self.by_id.iter().find(|(_, text)| *text == schema).map(|(id, _)| *id);
        let highest = |ids: Option<&u32>| ids.map_or(0, |id| *id);
        let id = known.unwrap_or_else(|| {
            let id = highest(self.by_id.keys().next_back()) + 1;
            self.by_id.insert(id, schema.to_owned());
            id
        });
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.values().any(|known| *known == id) {
            let version = highest(versions.keys().next_back()) + 1;
            versions.insert(version, id);
        }
        id
    }

    fn take_outage(&mut self) -> Option<Outage> {
        let (left, outage) = self.outage?;
        self.outage = (left > 1).then(|| (left - 1, outage));
        Some(outage)
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/schemas/ids/{id}", get(schema_by_id))
        .route("/subjects", get(subjects))
        .route("/subjects/{subject}/versions", get(versions).post(register))
        .route("/subjects/{subject}/versions/latest", get(latest))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), disturb))
        .with_state(shared)
}

async fn disturb(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let outage = shared.shelf().take_outage();
    if let Some(outage) = outage {
        shared.disturbed.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(outage.delay).await;
        if let Some(status) = outage.status {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            return error(status, u32::from(status.as_u16()) * 100 + 1, "Disturbed by a test");
        }
    }
    next.run(request).await
}

async fn schema_by_id(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let schema = id.parse().ok().and_then(|id: u32| shared.shelf().by_id.get(&id).cloned());
    match schema {
        Some(schema) => answer(StatusCode::OK, &json!({ "schema": schema })),
        None => error(StatusCode::NOT_FOUND, 40403, "Schema not found"),
    }
}

async fn subjects(State(shared): State<Arc<Shared>>) -> Response {
    let names: Vec<String> = shared.shelf().subjects.keys().cloned().collect();
    answer(StatusCode::OK, &json!(names))
}

async fn versions(State(shared): State<Arc<Shared>>, Path(subject): Path<String>) -> Response {
    let versions: Option<Vec<u32>> =
        shared.shelf().subjects.get(&subject).map(|known| known.keys().copied().collect());
    match versions {
        Some(versions) => answer(StatusCode::OK, &json!(versions)),
        None => error(StatusCode::NOT_FOUND, 40401, &format!("Subject '{subject}' not found.")),
    }
}

async fn latest(State(shared): State<Arc<Shared>>, Path(subject): Path<String>) -> Response {
    let shelf = shared.shelf();
    let newest = shelf.subjects.get(&subject).and_then(|known| known.last_key_value());
    match newest.and_then(|(version, id)| Some((version, id, shelf.by_id.get(id)?))) {
        Some((version, id, schema)) => {
            let body = json!({"subject": subject, "version": version, "id": id, "schema": schema});
            answer(StatusCode::OK, &body)
        }
        None => error(StatusCode::NOT_FOUND, 40401, &format!("Subject '{subject}' not found.")),
    }
}

async fn register(
    State(shared): State<Arc<Shared>>,
    Path(subject): Path<String>,
    body: Bytes,
) -> Response {
    let body: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
    let schema = body.as_ref().and_then(|body| body.get("schema")).and_then(|s| s.as_str());
    match schema.filter(|text| serde_json::from_str::<serde_json::Value>(text).is_ok()) {
        Some(schema) => {
            let id = shared.shelf().register(&subject, schema);
            answer(StatusCode::OK, &json!({ "id": id }))
        }
        None => error(StatusCode::UNPROCESSABLE_ENTITY, 42201, "Invalid schema"),
    }
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/vnd.schemaregistry.v1+json")];
    (status, kind, body.to_string()).into_response()
}

fn error(status: StatusCode, code: u32, message: &str) -> Response {
    answer(status, &json!({ "error_code": code, "message": message }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::capture::SubjectVersion;

    async fn get(registry: &DemoRegistry, path: &str) -> (u16, String) {
        let response = reqwest::get(format!("{}{path}", registry.url())).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    async fn post(registry: &DemoRegistry, path: &str, body: &'static str) -> (u16, String) {
        let request = reqwest::Client::new().post(format!("{}{path}", registry.url())).body(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    #[tokio::test]
    async fn an_unknown_id_gets_confluent_s_not_found() {
        let registry = DemoRegistry::start().unwrap();
        let answer = (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned());
        assert_eq!(get(&registry, "/schemas/ids/1").await, answer);
        assert_eq!(get(&registry, "/schemas/ids/x").await, answer);
        assert_eq!(get(&registry, "/subjects/s/versions").await.0, 404);
    }

    #[tokio::test]
    async fn captured_schemas_keep_their_ids_versions_and_subjects() {
        let registry = DemoRegistry::start().unwrap();
        registry.preload(&[CapturedSchema {
            subject: "a-key".to_owned(),
            version: 2,
            id: 7,
            schema: "\"int\"".to_owned(),
            also: vec![SubjectVersion { subject: "b-key".to_owned(), version: 1 }],
        }]);
        let schema = (200, r#"{"schema":"\"int\""}"#.to_owned());
        assert_eq!(get(&registry, "/schemas/ids/7").await, schema);
        assert_eq!(get(&registry, "/schemas/ids/7?deleted=true").await, schema);
        assert_eq!(get(&registry, "/subjects").await, (200, r#"["a-key","b-key"]"#.to_owned()));
        assert_eq!(get(&registry, "/subjects/a-key/versions").await, (200, "[2]".to_owned()));
    }

    #[tokio::test]
    async fn the_same_schema_registered_twice_has_one_id() {
        let registry = DemoRegistry::start().unwrap();
        let path = "/subjects/s/versions";
        let id = (200, r#"{"id":1}"#.to_owned());
        assert_eq!(post(&registry, path, r#"{"schema":"\"int\""}"#).await, id);
        assert_eq!(post(&registry, path, r#"{"schema":"\"int\""}"#).await, id);
        assert_eq!(registry.register("other", "\"int\""), 1);
        assert_eq!(registry.register("s", "\"long\""), 2);
        assert_eq!(get(&registry, path).await, (200, "[1,2]".to_owned()));
        assert_eq!(post(&registry, path, r#"{"schema":"no json"}"#).await.0, 422);
        assert_eq!(post(&registry, path, "no json").await.0, 422);
    }

    #[tokio::test]
    async fn an_outage_lasts_for_the_requests_it_was_made_for() {
        let registry = DemoRegistry::start().unwrap();
        registry.disturb(2, Outage::status(503));
        assert_eq!(get(&registry, "/subjects").await.0, 503);
        assert_eq!(get(&registry, "/subjects").await.0, 503);
        assert_eq!(get(&registry, "/subjects").await.0, 200);
        assert_eq!((registry.requests(), registry.disturbed()), (3, 2));
        registry.disturb(u64::MAX, Outage::status(401));
        assert_eq!(get(&registry, "/subjects").await.0, 401);
        registry.recover();
        assert_eq!(get(&registry, "/subjects").await.0, 200);
    }

    #[tokio::test]
    async fn a_late_answer_is_late_and_then_right() {
        let registry = DemoRegistry::start().unwrap();
        registry.disturb(1, Outage::delay(Duration::from_millis(60)));
        let before = std::time::Instant::now();
        assert_eq!(get(&registry, "/subjects").await.0, 200);
        assert!(before.elapsed() >= Duration::from_millis(60));
    }

    #[test]
    fn it_runs_without_a_runtime_and_frees_its_port_when_dropped() {
        let registry = DemoRegistry::start().unwrap();
        let address = registry.address;
        drop(registry);
        assert!(std::net::TcpStream::connect(address).is_err());
    }
}
