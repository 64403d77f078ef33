//! Connecting: what is fatal, what is waited for, and that no secret is shown.

use crate::rows::PIPELINE;
use crate::server::{Server, config_for, connect, database};
use silversink::fault::{Class, Code};
use silversink::postgres::Destination;

#[tokio::test]
async fn a_wrong_password_is_fatal_and_never_shown() {
    let db = database().await;
    let fault = connect(&db.url_with("postgres", "hunter2")).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Fatal, Code::PostgresLogin));
    assert!(fault.hint.is_some());
    assert!(!format!("{fault:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_missing_password_is_fatal() {
    let db = database().await;
    let fault = connect(&format!("postgresql://postgres@127.0.0.1:{}/{}", db.port, db.name))
        .await
        .unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Fatal, Code::PostgresLogin));
}

#[tokio::test]
async fn a_missing_database_is_fatal() {
    let db = database().await;
    let fault = connect(&db.url().replace(&format!("/{}", db.name), "/nowhere")).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Fatal, Code::PostgresLogin));
    assert_eq!(fault.sqlstate.as_deref(), Some("3D000"));
}

#[tokio::test]
async fn a_server_that_is_down_is_waited_for() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fault = connect(&format!("postgresql://u:p@127.0.0.1:{free}/db")).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresUnavailable));
    assert!(fault.text.contains(&format!("127.0.0.1:{free}")), "{fault}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut config = config_for(&format!("postgresql://u:p@127.0.0.1:{port}/db"));
    config.connect_timeout = std::time::Duration::from_millis(100);
    let fault = Destination::connect(&config, 1, "silversink test").await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresUnavailable));
}

#[tokio::test]
async fn a_read_only_server_is_waited_for() {
    let db = database().await;
    db.sql(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", db.name)).await;
    let fault = connect(&db.url()).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresUnavailable));
}

#[tokio::test]
async fn encryption_that_the_server_lacks_is_not_done_without() {
    let db = database().await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let fault = connect(&format!("{}?sslmode={mode}", db.url())).await.unwrap_err();
        assert_eq!(fault.class, Class::Transient, "{mode}");
    }
    connect(&format!("{}?sslmode=disable", db.url())).await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_is_noticed_and_never_poison() {
    let server = Server::start("password", &[]);
    let db = server.database().await;
    let destination = db.destination().await;
    server.stop();
    let fault = destination.positions(PIPELINE).await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresUnavailable));
    let fault = destination.writer().await.unwrap_err();
    assert_eq!((fault.class, fault.code), (Class::Transient, Code::PostgresUnavailable));
}
