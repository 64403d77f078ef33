//! A database of the shared throw-away PostgreSQL.

use silversink::demo::throwaway::ThrowawayPostgres;

pub async fn connect() -> tokio_postgres::Client {
    let url = ThrowawayPostgres::shared().fresh_database().unwrap();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SET timezone = 'UTC'; SET lc_monetary = 'C'").await.unwrap();
    client
}
