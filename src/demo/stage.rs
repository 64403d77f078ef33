//! Sets the demo's stage: a registry with the captured schemas, and a PostgreSQL with the tables that JSON needs.

use crate::demo::registry::DemoRegistry;
use crate::demo::script::Script;
use crate::demo::throwaway::{self, ThrowawayPostgres};
use crate::fault::{Class, Code, Fault};
use crate::postgres::readback::Readback;

/// Schema of the worker's bookkeeping tables; the worker makes it, the stage clears it away.
const BOOKKEEPING: &str = "silversink";

/// What the demo runs on, apart from Kafka.
pub struct Stage {
    /// Registry with every schema of the script.
    pub registry: DemoRegistry,
    postgres: Option<ThrowawayPostgres>,
    url: String,
    schemas: Vec<String>,
}

impl Stage {
    /// Starts a registry and, unless `postgres_url` names a server, a throw-away PostgreSQL; makes the schemas of the
    /// Silver tables and the tables that the script wants beforehand.
    ///
    /// # Errors
    /// What starting them gives; fatal when a server that was named has one of the demo's schemas already: what is in
    /// it may be somebody's.
    pub async fn set(
        script: &Script,
        postgres_url: Option<&str>,
        options: throwaway::Options,
    ) -> Result<Self, Fault> {
        let registry = DemoRegistry::start()?;
        for feed in &script.feeds {
            registry.preload(feed.schemas.values());
        }
        let (postgres, url) = match postgres_url {
            Some(url) => (None, url.to_owned()),
            None => {
                let started = tokio::task::spawn_blocking(move || {
                    let server = ThrowawayPostgres::start(&options)?;
                    let url = server.create_database("demo")?;
                    Ok::<_, Fault>((Some(server), url))
                });
                let panicked = |_| internal("starting the throw-away PostgreSQL panicked");
                started.await.map_err(panicked)??
            }
        };
        let readback = Readback::connect(&url).await?;
        let schemas: Vec<String> = script.feeds.iter().map(|feed| feed.silver.to_owned()).collect();
        refuse_existing(&readback, &schemas).await?;
        for schema in &schemas {
            readback.execute(&format!("CREATE SCHEMA \"{schema}\"")).await?;
        }
        for create in script.feeds.iter().flat_map(|feed| &feed.tables) {
            readback.execute(create).await?;
        }
        Ok(Self { registry, postgres, url, schemas })
    }

    /// URL of the database that the demo writes to.
    #[must_use]
    pub fn postgres_url(&self) -> &str {
        &self.url
    }

    /// The line that opens `psql` on it. It holds the password: for the terminal, not for logs.
    #[must_use]
    pub fn psql_line(&self) -> String {
        match &self.postgres {
            Some(server) => server.psql_line("demo"),
            None => format!("psql '{}'", self.url),
        }
    }

    /// The throw-away server's address; `None` on a server that was named.
    #[must_use]
    pub fn throwaway_address(&self) -> Option<String> {
        self.postgres.as_ref().map(|server| format!("127.0.0.1:{}", server.port()))
    }

    /// Clears everything away: the throw-away server, or on a named server the demo's schemas.
    ///
    /// # Errors
    /// When the named server refuses or is gone.
    pub async fn clear(self) -> Result<(), Fault> {
        if self.postgres.is_none() {
            let readback = Readback::connect(&self.url).await?;
            for schema in self.schemas.iter().map(String::as_str).chain([BOOKKEEPING]) {
                readback.execute(&format!("DROP SCHEMA IF EXISTS \"{schema}\" CASCADE")).await?;
            }
        }
        let server = self.postgres;
        let dropped = tokio::task::spawn_blocking(move || drop(server)).await;
        dropped.map_err(|_| internal("stopping the throw-away PostgreSQL panicked"))
    }
}

async fn refuse_existing(readback: &Readback, schemas: &[String]) -> Result<(), Fault> {
    let existing = readback.query("SELECT nspname::text FROM pg_namespace").await?;
    let existing: Vec<&str> = existing.iter().flatten().flatten().map(String::as_str).collect();
    let mut wanted = schemas.iter().map(String::as_str).chain([BOOKKEEPING]);
    match wanted.find(|name| existing.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Fault::new(
            Class::Fatal,
            Code::Configuration,
            format!("the database has a schema {name} already, which the demo would write to"),
        )
        .with_hint("give --postgres-url an empty database")),
    }
}

fn internal(text: &str) -> Fault {
    Fault::new(Class::Fatal, Code::Internal, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::script::find_shop;

    fn script() -> Script {
        Script::read(&find_shop(None).unwrap()).unwrap()
    }

    async fn tables(url: &str) -> String {
        let readback = Readback::connect(url).await.unwrap();
        let sql = "select count(*)::text from pg_tables where schemaname like 'silver%'";
        let rows = readback.query(sql).await.unwrap();
        rows[0][0].clone().unwrap()
    }

    #[tokio::test]
    async fn the_stage_has_schemas_and_tables_and_leaves_nothing() {
        let stage = Stage::set(&script(), None, throwaway::Options::default()).await.unwrap();
        let url = stage.postgres_url().to_owned();
        assert!(stage.psql_line().contains(&url));
        assert_eq!(tables(&url).await, "4");
        let schema = format!("{}/schemas/ids/1", stage.registry.url());
        assert_eq!(reqwest::get(schema).await.unwrap().status().as_u16(), 200);
        stage.clear().await.unwrap();
        assert!(Readback::connect(&url).await.is_err());
    }

    #[tokio::test]
    async fn a_named_server_is_used_and_cleared_but_never_overwritten() {
        let url = ThrowawayPostgres::shared().fresh_database().unwrap();
        let set = async || Stage::set(&script(), Some(&url), throwaway::Options::default()).await;
        let stage = set().await.unwrap();
        let Err(fault) = set().await else { panic!("the schemas are there") };
        assert!(fault.text.contains("has a schema silver already"), "{fault}");
        assert_eq!(tables(&url).await, "4");
        stage.clear().await.unwrap();
        assert_eq!(tables(&url).await, "0");
        assert!(set().await.is_ok());
    }
}
