//! Reads tables back as text, the way PostgreSQL prints them, for comparisons with what a source held.

use crate::fault::{Class, Code, Fault};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use postgres_openssl::MakeTlsConnector;
use tokio_postgres::{Client, SimpleQueryMessage};

/// How values are printed; the captures were taken under the same settings (`testdata/debezium`).
const PRINTING: &str = "SET datestyle = 'ISO, YMD'; SET intervalstyle = postgres; SET timezone = 'UTC'; \
     SET bytea_output = hex; SET extra_float_digits = 1";

/// One row as PostgreSQL prints it; `None` is NULL.
pub type PrintedRow = Vec<Option<String>>;

/// A session whose values are printed in one known way.
pub struct Readback {
    client: Client,
}

impl Readback {
    /// Connects by URL (libpq form). TLS is used when the URL or the server asks for it, without verifying the server,
    /// which is what libpq's `sslmode=require` means: nothing is written through this session.
    ///
    /// # Errors
    /// Transient when the server cannot be reached, fatal when the URL is wrong; neither quotes the URL.
    pub async fn connect(url: &str) -> Result<Self, Fault> {
        let config: tokio_postgres::Config = url.parse().map_err(|_: tokio_postgres::Error| {
            Fault::new(Class::Fatal, Code::Configuration, "reading a PostgreSQL URL")
        })?;
        let mut tls = SslConnector::builder(SslMethod::tls()).map_err(|e| {
            Fault::new(Class::Fatal, Code::Internal, format!("setting up TLS: {e}"))
        })?;
        tls.set_verify(SslVerifyMode::NONE);
        let (client, connection) = config
            .connect(MakeTlsConnector::new(tls.build()))
            .await
            .map_err(|e| fault("connecting to read tables back", &e))?;
        // Ends by itself when the client is dropped; its error reaches the query that it breaks.
        tokio::spawn(connection);
        client.batch_execute(PRINTING).await.map_err(|e| fault("setting the print style", &e))?;
        Ok(Self { client })
    }

    /// Runs one statement and returns its rows as printed. Columns whose text form differs from their cast (`char(n)`)
    /// need `::text` in the statement.
    ///
    /// # Errors
    /// Blocked, with the SQLSTATE, when the server refuses; transient when the connection breaks.
    pub async fn query(&self, sql: &str) -> Result<Vec<PrintedRow>, Fault> {
        let answer = self.client.simple_query(sql).await;
        let messages = answer.map_err(|e| fault("reading rows back", &e))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Runs statements whose rows nobody wants, e.g. to make tables in a test.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn execute(&self, sql: &str) -> Result<(), Fault> {
        self.client.batch_execute(sql).await.map_err(|e| fault("running statements", &e))
    }
}

/// Neither PostgreSQL's detail nor its context is used: both quote row values.
fn fault(what: &str, error: &tokio_postgres::Error) -> Fault {
    match error.as_db_error() {
        Some(refusal) => {
            let text = format!("{what}: the server says {}", refusal.code().code());
            Fault::new(Class::Blocked, Code::SqlstateUnknown, text)
                .with_sqlstate(refusal.code().code())
        }
        None => Fault::transient(Code::PostgresUnavailable, format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::throwaway::ThrowawayPostgres;

    #[tokio::test]
    async fn values_are_printed_as_the_captures_have_them() {
        let url = ThrowawayPostgres::shared().fresh_database().unwrap();
        let readback = Readback::connect(&url).await.unwrap();
        let rows = readback
            .query(
                "select timestamptz '2026-03-02 08:01:49.98906+01', '\\x0aff'::bytea, 0.1::float8,
                        interval '1 day 2 hours', null, date '2026-03-02', 'NL   '::char(5)::text",
            )
            .await
            .unwrap();
        let expected = [
            Some("2026-03-02 07:01:49.98906+00"),
            Some("\\x0aff"),
            Some("0.1"),
            Some("1 day 02:00:00"),
            None,
            Some("2026-03-02"),
            Some("NL"),
        ];
        assert_eq!(rows, [expected.map(|text| text.map(str::to_owned))]);
    }

    #[tokio::test]
    async fn a_refusal_carries_its_sqlstate_and_no_value() {
        let url = ThrowawayPostgres::shared().fresh_database().unwrap();
        let readback = Readback::connect(&url).await.unwrap();
        let fault = readback.query("select 'secret'::int").await.unwrap_err();
        assert_eq!(fault.sqlstate.as_deref(), Some("22P02"));
        assert!(!fault.text.contains("secret"), "{fault}");
    }

    #[tokio::test]
    async fn an_unreachable_server_is_transient_and_the_url_is_not_told() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = format!("postgres://u:secret@127.0.0.1:{port}/d");
        let Err(fault) = Readback::connect(&url).await else { panic!("nobody listens there") };
        assert_eq!(fault.class, Class::Transient);
        assert!(!fault.text.contains("secret"), "{fault}");
        let Err(fault) = Readback::connect("postgres://u:secret@[").await else { panic!("no URL") };
        assert_eq!(fault.class, Class::Fatal);
        assert!(!fault.text.contains("secret"), "{fault}");
    }
}
