//! Connecting: what is fatal, what is waited for, and that no secret is shown.

use crate::rows::PIPELINE;
use crate::server::{Server, config_for, connect, database, own};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
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

/// Writes a self-signed certificate for a host name, and its key, as PEM.
fn certificate(directory: &std::path::Path, host: &str) -> (String, String) {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", host).unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    let alternative =
        SubjectAlternativeName::new().dns(host).build(&builder.x509v3_context(None, None)).unwrap();
    builder.append_extension(alternative).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let write = |name: &str, pem: Vec<u8>| {
        let path = directory.join(name);
        std::fs::write(&path, pem).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        own(&path);
        path.to_str().unwrap().to_owned()
    };
    let pem = builder.build().to_pem().unwrap();
    (
        write(&format!("{host}.pem"), pem),
        write(&format!("{host}.key"), key.private_key_to_pem_pkcs8().unwrap()),
    )
}

#[tokio::test]
async fn certificates_are_checked_as_far_as_sslmode_says() {
    let directory = tempfile::tempdir().unwrap();
    own(directory.path());
    let (cert, key) = certificate(directory.path(), "localhost");
    let (stranger, _) = certificate(directory.path(), "stranger");
    let settings =
        ["ssl=on".to_owned(), format!("ssl_cert_file={cert}"), format!("ssl_key_file={key}")];
    let server = Server::start("password", &settings.each_ref().map(String::as_str));
    let db = server.database().await;
    // By name the certificate fits, by address it does not.
    let address = db.url();
    let name = address.replace("127.0.0.1", "localhost");
    for (url, query, good) in [
        (&address, "sslmode=require".to_owned(), true),
        (&address, "sslmode=verify-full".to_owned(), false),
        (&address, format!("sslmode=verify-ca&sslrootcert={cert}"), true),
        (&address, format!("sslmode=verify-ca&sslrootcert={stranger}"), false),
        (&address, format!("sslmode=require&sslrootcert={stranger}"), false),
        (&address, format!("sslmode=verify-full&sslrootcert={cert}"), false),
        (&name, format!("sslmode=verify-full&sslrootcert={cert}"), true),
    ] {
        let result = connect(&format!("{url}?{query}")).await;
        assert_eq!(result.is_ok(), good, "{query}: {result:?}");
        if let Ok(destination) = result {
            // Writers and pool are encrypted alike.
            let _writer = destination.writer().await.unwrap();
            destination.ensure_bookkeeping().await.unwrap();
            let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                         WHERE application_name = 'silversink test' AND NOT ssl";
            assert_eq!(db.value(plain).await, "0");
        }
    }
    let missing = connect(&format!("{address}?sslmode=verify-full&sslrootcert=/nowhere.pem")).await;
    assert_eq!(missing.unwrap_err().code, Code::Configuration);
}
