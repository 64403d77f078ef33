//! From a libpq URL to connections: what tokio-postgres does not read itself, TLS, the probe at start, the pool.

use super::{Limits, session, sqlstate};
use crate::config;
use crate::fault::{Class, Code, Fault};
use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use secrecy::ExposeSecret;
use std::path::PathBuf;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The oldest server that has MERGE (`server_version_num`).
const OLDEST: i32 = 150_000;

/// Where to connect, and how.
#[derive(Clone)]
pub(super) struct Target {
    config: tokio_postgres::Config,
    tls: MakeTlsConnector,
    timeout: Duration,
}

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify {
    Nothing,
    Authority,
    Full,
}

/// An open connection and the task that drives it.
pub(super) struct Connection {
    pub(super) client: tokio_postgres::Client,
    pub(super) driver: JoinHandle<()>,
}

impl Target {
    /// Reads `[postgres]`. tokio-postgres knows neither `sslmode=verify-*` nor `sslrootcert`, which libpq URLs have.
    pub(super) fn parse(cfg: &config::Postgres, application_name: &str) -> Result<Self, Fault> {
        let (url, ssl) = split_ssl(cfg.url.expose_secret())?;
        let mut config: tokio_postgres::Config = url.parse().map_err(|_| {
            // The error's text can quote the URL, and with it the password.
            configuration("[postgres] url is no PostgreSQL connection URL")
                .with_hint("postgresql://user:password@host:5432/database?sslmode=verify-full")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(configuration("[postgres] url names no host"));
        }
        let root = ssl.root.or_else(|| cfg.ca.clone());
        let (mode, verify) = match ssl.mode.as_deref() {
            None | Some("prefer" | "allow") => (SslMode::Prefer, Verify::Nothing),
            Some("disable") => (SslMode::Disable, Verify::Nothing),
            // As libpq does: a root certificate makes `require` check the authority.
            Some("require") if root.is_none() => (SslMode::Require, Verify::Nothing),
            Some("require" | "verify-ca") => (SslMode::Require, Verify::Authority),
            Some("verify-full") => (SslMode::Require, Verify::Full),
            Some(_) => return Err(configuration("[postgres] url has an unknown sslmode")),
        };
        config
            .ssl_mode(mode)
            .application_name(application_name)
            .target_session_attrs(TargetSessionAttrs::ReadWrite)
            .connect_timeout(cfg.connect_timeout)
            .keepalives_idle(Duration::from_secs(30))
            .tcp_user_timeout(cfg.statement_timeout.max(Duration::from_secs(30)));
        Ok(Self { config, tls: tls(verify, root)?, timeout: cfg.connect_timeout })
    }

    /// `host:port`, for messages.
    pub(super) fn name(&self) -> String {
        let ports = self.config.get_ports();
        let port = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(5432);
        let hosts: Vec<String> = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(i, host)| match host {
                Host::Tcp(name) => format!("{name}:{}", port(i)),
                #[cfg(unix)]
                Host::Unix(path) => format!("{}:{}", path.display(), port(i)),
            })
            .collect();
        if hosts.is_empty() {
            return self
                .config
                .get_hostaddrs()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",");
        }
        hosts.join(",")
    }

    /// Opens one connection.
    pub(super) async fn open(&self) -> Result<Connection, ConnectError> {
        // Beside the timeout of each address: name resolution and the login have none of their own.
        let opened =
            tokio::time::timeout(self.timeout * 2, self.config.connect(self.tls.clone())).await;
        let (client, connection) = match opened {
            Ok(result) => result.map_err(ConnectError::Refused)?,
            Err(_) => return Err(ConnectError::Silent),
        };
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(fault = %sqlstate::fault("connection to PostgreSQL", &error), "connection ended");
            }
        });
        Ok(Connection { client, driver })
    }

    /// The fault of a failed attempt to connect; at start a refused login is fatal, later it may be a password change.
    pub(super) fn fault(&self, error: &ConnectError, at_start: bool) -> Fault {
        let doing = format!("connecting to PostgreSQL at {}", self.name());
        match error {
            ConnectError::Silent => Fault::transient(
                Code::PostgresUnavailable,
                format!("{doing}: no answer within {:?}", self.timeout),
            ),
            ConnectError::Refused(error) if at_start => sqlstate::login(&doing, error),
            ConnectError::Refused(error) => {
                let fault = sqlstate::login(&doing, error);
                match fault.class {
                    Class::Fatal => Fault { class: Class::Transient, ..fault },
                    _ => fault,
                }
            }
        }
    }

    /// Connects once and asks what must be known before any work.
    pub(super) async fn probe(&self, limits: Limits) -> Result<(), Fault> {
        let Connection { client, driver } = self.open().await.map_err(|e| self.fault(&e, true))?;
        let doing = format!("probing PostgreSQL at {}", self.name());
        let answer = limits
            .wait(
                &doing,
                client.query_typed_one(
                    "SELECT current_setting('server_version_num')::int4, \
                     current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery()",
                    &[],
                ),
            )
            .await;
        driver.abort();
        let row = answer?.map_err(|e| sqlstate::fault(&doing, &e))?;
        let read = |e| sqlstate::fault(&doing, &e);
        let version: i32 = row.try_get(0).map_err(read)?;
        let read_only: bool = row.try_get(1).map_err(read)?;
        if version < OLDEST {
            return Err(Fault::new(
                Class::Fatal,
                Code::PostgresTooOld,
                format!("{doing}: server version {} is older than 15", version / 10_000),
            )
            .with_hint("MERGE needs PostgreSQL 15 or later"));
        }
        if read_only {
            return Err(Fault::transient(
                Code::PostgresUnavailable,
                format!("{doing}: the server is read-only"),
            )
            .with_hint(
                "name the primary in [postgres] url, or both servers separated by a comma",
            ));
        }
        Ok(())
    }

    /// The pool for short questions.
    pub(super) fn pool(
        &self,
        limits: Limits,
        wait: Duration,
        writers: usize,
    ) -> Result<Pool, Fault> {
        let manager = Manager::from_config(
            self.config.clone(),
            self.tls.clone(),
            // An idle connection may be long dead when it is needed: ask it first.
            ManagerConfig { recycling_method: RecyclingMethod::Verified },
        );
        let settings = session::settings(limits);
        Pool::builder(manager)
            .max_size(writers.saturating_add(2))
            .wait_timeout(Some(limits.answer()))
            .create_timeout(Some(wait * 2))
            .recycle_timeout(Some(wait))
            .runtime(Runtime::Tokio1)
            .post_create(Hook::async_fn(move |client, _| {
                let settings = settings.clone();
                Box::pin(async move {
                    client.batch_execute(&settings).await.map_err(HookError::Backend)
                })
            }))
            .build()
            .map_err(|error| {
                Fault::new(
                    Class::Fatal,
                    Code::Internal,
                    format!("building the connection pool: {error}"),
                )
            })
    }
}

/// Why no connection came about.
pub(super) enum ConnectError {
    /// The server or the client library said no.
    Refused(tokio_postgres::Error),
    /// Nobody answered.
    Silent,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Ssl {
    mode: Option<String>,
    root: Option<PathBuf>,
}

/// Takes `sslmode` and `sslrootcert` out of the URL.
fn split_ssl(url: &str) -> Result<(String, Ssl), Fault> {
    let mut ssl = Ssl::default();
    let Some((base, query)) = url.split_once('?') else {
        return Ok((url.to_owned(), ssl));
    };
    let mut rest = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => ssl.mode = Some(mode.to_owned()),
            Some(("sslrootcert", path)) => {
                let path = percent_decode(path).ok_or_else(|| {
                    configuration("[postgres] url: sslrootcert is not percent-encoded text")
                })?;
                ssl.root = Some(PathBuf::from(path));
            }
            _ => rest.push(pair),
        }
    }
    let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
    Ok((url, ssl))
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            out.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn tls(verify: Verify, root: Option<PathBuf>) -> Result<MakeTlsConnector, Fault> {
    let failed =
        |error: openssl::error::ErrorStack| configuration(format!("setting up TLS: {error}"));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
    if let Some(path) = root {
        builder.set_ca_file(&path).map_err(|_| {
            configuration(format!("certificate authority {} cannot be read as PEM", path.display()))
                .with_hint("[postgres] ca and sslrootcert name a PEM file")
        })?;
    }
    if verify == Verify::Nothing {
        builder.set_verify(SslVerifyMode::NONE);
    }
    let mut connector = MakeTlsConnector::new(builder.build());
    if verify != Verify::Full {
        connector.set_callback(|ssl, _| {
            ssl.set_verify_hostname(false);
            Ok(())
        });
    }
    Ok(connector)
}

fn configuration(text: impl Into<String>) -> Fault {
    Fault::new(Class::Fatal, Code::Configuration, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssl_settings_are_taken_out_of_the_url() {
        let (url, ssl) = split_ssl(
            "postgresql://u:p@h/db?sslmode=verify-full&options=-c%20x%3D1&sslrootcert=/a%20b.pem",
        )
        .unwrap();
        assert_eq!(url, "postgresql://u:p@h/db?options=-c%20x%3D1");
        assert_eq!(ssl, Ssl { mode: Some("verify-full".into()), root: Some("/a b.pem".into()) });
    }

    #[test]
    fn a_url_without_query_stays_as_it_is() {
        assert_eq!(
            split_ssl("postgresql://h/db").unwrap(),
            ("postgresql://h/db".to_owned(), Ssl::default())
        );
    }

    #[test]
    fn half_an_escape_is_no_path() {
        assert!(split_ssl("postgresql://h/db?sslrootcert=%2").is_err());
    }

    fn target(url: &str) -> Result<Target, Fault> {
        let cfg = config::Postgres {
            url: url.to_owned().into(),
            ca: None,
            statement_timeout: Duration::from_secs(1),
            lock_timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
        };
        Target::parse(&cfg, "silversink test")
    }

    #[test]
    fn a_bad_url_is_refused_without_being_quoted() {
        for url in [
            "postgresql://u:hunter2@h:notaport/db",
            "hunter2",
            "postgresql://u:hunter2@h/db?sslmode=maybe",
        ] {
            let fault = target(url).err().unwrap();
            assert_eq!(fault.class, Class::Fatal);
            assert!(!format!("{fault:?}").contains("hunter2"), "{fault:?}");
        }
    }

    #[test]
    fn every_host_is_named_with_its_port() {
        assert_eq!(target("postgresql://u@a,b:6000/db").unwrap().name(), "a:5432,b:6000");
    }
}
