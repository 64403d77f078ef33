//! The client against a registry that says whatever the test scripts.

use super::*;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use secrecy::SecretString;
use std::sync::atomic::{AtomicUsize, Ordering};

const AVRO: &str = r#"{"schema":"{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}"}"#;

async fn serve(app: Router) -> config::Registry {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    config::Registry { url, user: None, password: None, ca: None }
}

fn answer(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body.into()).unwrap()
}

async fn scripted(status: u16, body: &'static str) -> Result<Arc<str>, Fault> {
    let registry = serve(
        Router::new().route("/schemas/ids/{id}", get(move || async move { answer(status, body) })),
    )
    .await;
    Client::open(&registry).unwrap().schema(7).await
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
    let first = client.schema(7).await.unwrap();
    assert_eq!(&*first, r#"{"type":"record","name":"R","fields":[]}"#);
    assert_eq!(client.schema(7).await.unwrap(), first);
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
    assert_eq!(client.schema(7).await.unwrap_err().code, Code::SchemaUnknown);
    assert_eq!(client.schema(7).await.unwrap_err().code, Code::RegistryUnavailable);
    assert!(client.schema(7).await.is_ok());
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
    let fault = client.schema(7).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::RegistryUnavailable));
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_waited_for() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let registry = config::Registry { url, user: None, password: None, ca: None };
    let fault = Client::open(&registry).unwrap().schema(7).await.unwrap_err();
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
    let fault = Client::open(&registry).unwrap().schema(7).await.unwrap_err();
    assert_eq!(fault.code, Code::RegistryUnavailable, "the registry must have seen the login");
    let url = registry.url.replace("http://", "http://me:hunter2@");
    let embedded =
        Client::open(&config::Registry { url, ..registry }).unwrap().schema(7).await.unwrap_err();
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
    let text = client.schema(1).await.unwrap();
    assert!(text.contains(r#""name":"Row""#), "{text}");
    apache_avro::Schema::parse_str(&text).unwrap();
    // The registry's own inconsistency, not the record's.
    assert_eq!(client.schema(2).await.unwrap_err().code, Code::RegistryUnavailable);
    assert_eq!(client.schema(3).await.unwrap_err().code, Code::SchemaUnusable);
}

#[test]
fn a_bad_url_or_certificate_is_a_mistake_in_the_configuration() {
    let registry = config::Registry { url: "no url".into(), user: None, password: None, ca: None };
    assert_eq!(Client::open(&registry).err().unwrap().code, Code::Configuration);
    let ca = Some(std::path::PathBuf::from("/nonexistent/ca.pem"));
    let registry = config::Registry { url: "https://localhost:1".into(), ca, ..registry };
    assert_eq!(Client::open(&registry).err().unwrap().code, Code::Configuration);
}
