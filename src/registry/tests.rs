//! The client against a registry that says whatever the test scripts.

use super::*;
use crate::demo::registry::{DemoRegistry, GLOBAL_ID_ABOVE, Outage};
use crate::fault::Class;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use secrecy::SecretString;
use std::sync::atomic::{AtomicUsize, Ordering};

const SEVEN: RegistryId = RegistryId::Confluent(7);
const AVRO: &str = r#"{"schema":"{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}"}"#;

async fn serve(app: Router) -> config::Registry {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    config::Registry { url, ..config::Registry::default() }
}

fn answer(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body.into()).unwrap()
}

async fn scripted(status: u16, body: &'static str) -> Result<Arc<str>, Fault> {
    let registry = serve(
        Router::new().route("/schemas/ids/{id}", get(move || async move { answer(status, body) })),
    )
    .await;
    Client::open(&registry).unwrap().schema(SEVEN).await
}

#[tokio::test]
async fn a_schema_is_fetched_once_and_then_known() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let registry = serve(Router::new().route(
        "/schemas/ids/{id}",
        get(move || async move {
            counter.fetch_add(1, Ordering::Relaxed);
            answer(200, AVRO)
        }),
    ))
    .await;
    let client = Client::open(&registry).unwrap();
    let first = client.schema(SEVEN).await.unwrap();
    assert_eq!(&*first, r#"{"type":"record","name":"R","fields":[]}"#);
    assert_eq!(client.schema(SEVEN).await.unwrap(), first);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn only_the_registrys_own_code_says_that_a_schema_does_not_exist() {
    let fault =
        scripted(404, r#"{"error_code":40403,"message":"Schema 7 not found"}"#).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Poison, Code::SchemaUnknown));
    for body in
        [r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#, "<html>no such page</html>", ""]
    {
        let fault = scripted(404, body).await.unwrap_err();
        assert_eq!(
            (fault.class, fault.code),
            (Class::Transient, Code::RegistryUnavailable),
            "{body:?}"
        );
        assert!(fault.hint.is_some());
    }
}

#[tokio::test]
async fn refused_credentials_are_never_a_dead_letter() {
    for status in [401, 403] {
        for body in ["", r#"{"error_code":40301,"message":"User is denied"}"#] {
            let fault = scripted(status, body).await.unwrap_err();
            assert_eq!(
                (fault.class, fault.code),
                (Class::Transient, Code::RegistryUnauthorized),
                "{status}"
            );
            assert!(fault.hint.unwrap().contains("password"));
        }
    }
}

#[tokio::test]
async fn an_ailing_registry_is_waited_for() {
    for status in [400, 408, 429, 500, 502, 503, 504] {
        for body in ["", r#"{"error_code":50001,"message":"Error in the backend data store"}"#] {
            let fault = scripted(status, body).await.unwrap_err();
            assert_eq!(
                (fault.class, fault.code),
                (Class::Transient, Code::RegistryUnavailable),
                "{status}"
            );
            assert!(fault.text.contains(&format!("status {status}")), "{}", fault.text);
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_early_or_is_no_schema_is_waited_for() {
    for body in [r#"{"schema":"{\"type"#, "not json", "{}", ""] {
        let fault = scripted(200, body).await.unwrap_err();
        assert_eq!(
            (fault.class, fault.code),
            (Class::Transient, Code::RegistryUnavailable),
            "{body:?}"
        );
    }
}

#[tokio::test]
async fn a_failure_is_not_remembered() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let registry = serve(Router::new().route(
        "/schemas/ids/{id}",
        get(move || async move {
            match counter.fetch_add(1, Ordering::Relaxed) {
                0 => answer(404, r#"{"error_code":40403,"message":"Schema not found"}"#),
                1 => answer(500, ""),
                _ => answer(200, AVRO),
            }
        }),
    ))
    .await;
    let client = Client::open(&registry).unwrap();
    assert_eq!(client.schema(SEVEN).await.unwrap_err().code, Code::SchemaUnknown);
    assert_eq!(client.schema(SEVEN).await.unwrap_err().code, Code::RegistryUnavailable);
    assert!(client.schema(SEVEN).await.is_ok());
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_at_the_deadline() {
    let body =
        || Body::from_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let registry = serve(
        Router::new().route("/schemas/ids/{id}", get(move || async move { answer(200, body()) })),
    )
    .await;
    let client = Client::open_with(&registry, Duration::from_millis(200)).unwrap();
    let fault = client.schema(SEVEN).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::RegistryUnavailable));
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let registry = config::Registry { url, ..config::Registry::default() };
    let fault = Client::open(&registry).unwrap().schema(SEVEN).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::RegistryUnavailable));
}

#[tokio::test]
async fn credentials_are_sent_and_never_told() {
    let registry = serve(Router::new().route(
        "/schemas/ids/{id}",
        get(|request: Request| async move {
            // "me:hunter2"
            let expected = "Basic bWU6aHVudGVyMg==";
            let sent = request
                .headers()
                .get("authorization")
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default();
            if sent == expected { answer(500, "") } else { answer(401, "") }
        }),
    ))
    .await;
    let registry = config::Registry {
        user: Some("me".to_owned()),
        password: Some(SecretString::from("hunter2")),
        ..registry
    };
    let fault = Client::open(&registry).unwrap().schema(SEVEN).await.unwrap_err();
    assert_eq!(fault.code, Code::RegistryUnavailable, "the registry must have seen the login");
    let url = registry.url.replace("http://", "http://me:hunter2@");
    let embedded = Client::open(&config::Registry { url, ..registry })
        .unwrap()
        .schema(SEVEN)
        .await
        .unwrap_err();
    for fault in [fault, embedded] {
        assert!(!format!("{fault:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn references_are_resolved_and_other_kinds_of_schema_refused() {
    let app = Router::new()
        .route(
            "/schemas/ids/{id}",
            get(|Path(id): Path<u32>| async move {
                match id {
                    1 => answer(
                        200,
                        r#"{"schema":"{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"row\",\"type\":\"b.Row\"}]}",
                            "references":[{"name":"b.Row","subject":"rows","version":3}]}"#,
                    ),
                    2 => answer(
                        200,
                        r#"{"schema":"\"x.Gone\"","references":[{"name":"x.Gone","subject":"gone","version":1}]}"#,
                    ),
                    _ => answer(200, r#"{"schemaType":"PROTOBUF","schema":"syntax = \"proto3\";"}"#),
                }
            }),
        )
        .route(
            "/subjects/rows/versions/3",
            get(|| async {
                answer(
                    200,
                    r#"{"id":9,"version":3,"subject":"rows",
                        "schema":"{\"type\":\"record\",\"name\":\"Row\",\"namespace\":\"b\",\"fields\":[]}"}"#,
                )
            }),
        )
        .fallback(get(|| async { answer(404, r#"{"error_code":40401,"message":"Subject not found"}"#) }));
    let client = Client::open(&serve(app).await).unwrap();
    let text = client.schema(RegistryId::Confluent(1)).await.unwrap();
    assert!(text.contains(r#""name":"Row""#), "{text}");
    apache_avro::Schema::parse_str(&text).unwrap();
    // The registry's own inconsistency, not the record's.
    assert_eq!(
        client.schema(RegistryId::Confluent(2)).await.unwrap_err().code,
        Code::RegistryUnavailable
    );
    assert_eq!(
        client.schema(RegistryId::Confluent(3)).await.unwrap_err().code,
        Code::SchemaUnusable
    );
}

#[test]
fn a_bad_url_or_certificate_is_a_mistake_in_the_configuration() {
    let registry = config::Registry { url: "no url".into(), ..config::Registry::default() };
    assert_eq!(Client::open(&registry).err().unwrap().code, Code::Configuration);
    let ca = Some(std::path::PathBuf::from("/nonexistent/ca.pem"));
    let registry = config::Registry { url: "https://localhost:1".into(), ca, ..registry };
    assert_eq!(Client::open(&registry).err().unwrap().code, Code::Configuration);
}

fn demo(api: RegistryApi, cache_dir: Option<&std::path::Path>) -> (DemoRegistry, config::Registry) {
    let registry = DemoRegistry::start().unwrap();
    let config = config::Registry {
        url: registry.url(),
        api,
        cache_dir: cache_dir.map(Into::into),
        ..config::Registry::default()
    };
    (registry, config)
}

#[tokio::test]
async fn every_kind_of_id_is_asked_for_in_its_own_way() {
    let text = r#"{"type":"fixed","name":"F","size":3}"#;
    let (registry, config) = demo(RegistryApi::Confluent, None);
    let id = registry.register("s", text);
    let client = Client::open(&config).unwrap();
    let guid = RegistryId::Guid(DemoRegistry::guid(text));
    assert_eq!(&*client.schema(RegistryId::Confluent(id)).await.unwrap(), text);
    assert_eq!(&*client.schema(guid).await.unwrap(), text);
    let unknown = client.schema(RegistryId::Guid([0; 16])).await.unwrap_err();
    assert_eq!((unknown.class, unknown.code), (Class::Poison, Code::SchemaUnknown));
    let other = client.schema(RegistryId::ContentId(id.into())).await.unwrap_err();
    assert_eq!((other.class, other.code), (Class::Blocked, Code::Configuration));
    assert!(other.hint.unwrap().contains("api"));

    let apicurio =
        Client::open(&config::Registry { api: RegistryApi::Apicurio, ..config }).unwrap();
    let global = u64::from(id + GLOBAL_ID_ABOVE);
    assert_eq!(&*apicurio.schema(RegistryId::ContentId(id.into())).await.unwrap(), text);
    assert_eq!(&*apicurio.schema(RegistryId::GlobalId(global)).await.unwrap(), text);
    let mixed = apicurio.schema(RegistryId::ContentId(global)).await.unwrap_err();
    assert_eq!(mixed.code, Code::SchemaUnknown);
    let other = apicurio.schema(RegistryId::Confluent(id)).await.unwrap_err();
    assert_eq!(other.code, Code::Configuration);
}

#[tokio::test]
async fn apicurio_s_references_are_fetched_and_resolved() {
    let app = Router::new()
        .route(
            "/base/ids/globalIds/5",
            get(|| async {
                answer(
                    200,
                    r#"{"type":"record","name":"E","fields":[{"name":"row","type":"b.Row"}]}"#,
                )
            }),
        )
        .route(
            "/base/ids/globalIds/5/references",
            get(|| async {
                answer(
                    200,
                    r#"[{"groupId":null,"artifactId":"rows of b","version":"3","name":"b.Row"}]"#,
                )
            }),
        )
        .route(
            "/base/groups/default/artifacts/{artifact}/versions/3/{what}",
            get(|Path((artifact, what)): Path<(String, String)>| async move {
                match (artifact.as_str(), what.as_str()) {
                    ("rows of b", "content") => {
                        answer(200, r#"{"type":"record","name":"Row","namespace":"b","fields":[]}"#)
                    }
                    ("rows of b", "references") => answer(200, "[]"),
                    _ => answer(404, ""),
                }
            }),
        );
    let config = serve(app).await;
    let url = format!("{}/base", config.url);
    let config = config::Registry { url, api: RegistryApi::Apicurio, ..config };
    let text = Client::open(&config).unwrap().schema(RegistryId::GlobalId(5)).await.unwrap();
    assert!(text.contains(r#""name":"Row""#), "{text}");
    apache_avro::Schema::parse_str(&text).unwrap();
}

#[tokio::test]
async fn an_id_is_asked_for_once_however_many_want_it() {
    let (registry, config) = demo(RegistryApi::Confluent, None);
    let id = RegistryId::Confluent(registry.register("s", "\"int\""));
    let client = Client::open(&config).unwrap();
    let all = || futures::future::join_all((0..20).map(|_| client.schema(id)));
    // A failure is one answer for everyone who waits for it, and is not remembered.
    registry.disturb(1, Outage { delay: Duration::from_millis(100), status: Some(503) });
    for answer in all().await {
        assert_eq!(answer.unwrap_err().code, Code::RegistryUnavailable);
    }
    assert_eq!((registry.requests(), registry.disturbed()), (1, 1));
    registry.disturb(1, Outage::delay(Duration::from_millis(100)));
    assert!(all().await.iter().all(Result::is_ok));
    assert_eq!(registry.requests(), 2);
    assert!(all().await.iter().all(Result::is_ok));
    assert_eq!(registry.requests(), 2, "known by now");
}

#[tokio::test]
async fn who_gives_up_waiting_leaves_the_question_to_the_others() {
    let (registry, config) = demo(RegistryApi::Confluent, None);
    let id = RegistryId::Confluent(registry.register("s", "\"int\""));
    let client = Client::open(&config).unwrap();
    registry.disturb(1, Outage::delay(Duration::from_millis(200)));
    let first = tokio::time::timeout(Duration::from_millis(50), client.schema(id));
    assert!(first.await.is_err(), "given up");
    assert_eq!(&*client.schema(id).await.unwrap(), "\"int\"");
    assert_eq!(registry.requests(), 1);
}

#[tokio::test]
async fn a_copy_on_disk_answers_while_the_registry_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let (registry, config) = demo(RegistryApi::Confluent, Some(directory.path()));
    let config = config::Registry {
        user: Some("me".to_owned()),
        password: Some(SecretString::from("hunter2")),
        ..config
    };
    let id = RegistryId::Confluent(registry.register("s", "\"int\""));
    let new = RegistryId::Confluent(registry.register("s", "\"long\""));
    let open = || Client::open(&config).unwrap();
    assert_eq!(&*open().schema(id).await.unwrap(), "\"int\"");
    for status in [401, 403, 408, 429, 500, 503] {
        registry.disturb(u64::MAX, Outage::status(status));
        let before = registry.disturbed();
        assert_eq!(&*open().schema(id).await.unwrap(), "\"int\"", "{status}");
        assert_eq!(registry.disturbed(), before + 1, "the registry was asked first");
        assert_eq!(open().schema(new).await.unwrap_err().class, Class::Transient, "no copy");
    }
    let files = files(directory.path());
    assert_eq!(files.len(), 1);
    let content = std::fs::read_to_string(&files[0]).unwrap();
    for secret in ["hunter2", "me:", "127.0.0.1"] {
        assert!(!content.contains(secret), "{content}");
    }
    // A damaged copy is no answer, and is replaced as soon as there is one.
    std::fs::write(&files[0], content.replace("int", "out")).unwrap();
    assert_eq!(open().schema(id).await.unwrap_err().code, Code::RegistryUnavailable);
    registry.recover();
    assert_eq!(&*open().schema(id).await.unwrap(), "\"int\"");
    assert_eq!(std::fs::read_to_string(&files[0]).unwrap(), content);
    // What the registry has deleted, records may still refer to.
    drop(registry);
    assert_eq!(&*open().schema(id).await.unwrap(), "\"int\"");
}

fn files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let below = |directory: &std::path::Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    below(directory).iter().flat_map(|directory| below(directory)).collect()
}

#[tokio::test]
async fn a_copy_is_kept_only_of_what_the_registry_gave_as_avro() {
    let directory = tempfile::tempdir().unwrap();
    let app = Router::new().route(
        "/schemas/ids/{id}",
        get(|Path(id): Path<u32>| async move {
            match id {
                1 => answer(200, r#"{"schemaType":"JSON","schema":"{}"}"#),
                2 => answer(200, "<html>"),
                _ => answer(404, r#"{"error_code":40403,"message":"Schema not found"}"#),
            }
        }),
    );
    let config = config::Registry { cache_dir: Some(directory.path().into()), ..serve(app).await };
    let client = Client::open(&config).unwrap();
    for (id, code) in
        [(1, Code::SchemaUnusable), (2, Code::RegistryUnavailable), (3, Code::SchemaUnknown)]
    {
        assert_eq!(client.schema(RegistryId::Confluent(id)).await.unwrap_err().code, code);
    }
    assert!(files(directory.path()).is_empty());
    // A directory that cannot be made is a mistake in the configuration.
    let file = tempfile::NamedTempFile::new().unwrap();
    let config = config::Registry { cache_dir: Some(file.path().into()), ..config };
    assert_eq!(Client::open(&config).err().unwrap().code, Code::Configuration);
}
