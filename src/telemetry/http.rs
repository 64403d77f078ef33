//! `/metrics`, `/livez` and `/readyz` over HTTP. Waits for nothing outside this process.

use super::health::Health;
use super::metrics::Exporter;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Open requests get this long to end at shutdown; the endpoints answer from memory.
const GRACE: Duration = Duration::from_secs(1);

/// A bound server that does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
}

impl Server {
    /// Takes the address, so that a port in use is an error at start.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener })
    }

    /// The address in use; the port is known even where 0 was asked for.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the token is cancelled.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        exporter: Exporter,
        health: Arc<Health>,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let router = Router::new()
            .route("/metrics", get(metrics).with_state(exporter))
            .route("/livez", get(livez).with_state(Arc::clone(&health)))
            .route("/readyz", get(readyz).with_state(health));
        let overdue = {
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                tokio::time::sleep(GRACE).await;
            }
        };
        let serving =
            axum::serve(self.listener, router).with_graceful_shutdown(stop.cancelled_owned());
        tokio::select! {
            // A client that holds its connection open must not hold up the end of the worker.
            outcome = serving.into_future() => outcome,
            () = overdue => Ok(()),
        }
    }
}

async fn metrics(State(exporter): State<Exporter>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], exporter.render())
}

async fn livez(State(health): State<Arc<Health>>) -> impl IntoResponse {
    match health.live() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn readyz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    match health.ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::TableName;
    use crate::telemetry::metrics::{TableMetrics, for_tests};

    async fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
        let response = reqwest::get(format!("http://{address}{path}")).await.unwrap();
        let kind =
            response.headers().get("content-type").map_or("", |v| v.to_str().unwrap()).to_owned();
        (response.status().as_u16(), kind, response.text().await.unwrap())
    }

    #[tokio::test]
    async fn the_endpoints_answer_over_http_and_end_with_the_token() {
        let exporter =
            for_tests(|| TableMetrics::new(&TableName::new("silver", "orders")).applied(7));
        let health = Arc::new(Health::new());
        let stop = CancellationToken::new();
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address().unwrap();
        let serving = tokio::spawn(server.serve(exporter, Arc::clone(&health), stop.clone()));

        let (status, kind, body) = get(address, "/metrics").await;
        assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
        assert!(
            body.contains(
                "silversink_records_total{table=\"silver.orders\",outcome=\"applied\"} 7"
            ),
            "{body}"
        );

        assert_eq!(get(address, "/livez").await.0, 200);
        let (status, _, body) = get(address, "/readyz").await;
        assert_eq!(
            (status, body.as_str()),
            (503, "not a member of the consumer group\nPostgreSQL is not reachable\n")
        );

        health.set_joined(true);
        health.set_postgres_reachable(true);
        assert_eq!(get(address, "/readyz").await.0, 200);

        health.set_fatal();
        assert_eq!(get(address, "/livez").await.0, 503);
        assert_eq!(get(address, "/nothing").await.0, 404);

        stop.cancel();
        serving.await.unwrap().unwrap();
        assert!(reqwest::get(format!("http://{address}/livez")).await.is_err());
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error_at_start() {
        let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert_eq!(
            Server::bind(first.address().unwrap()).await.unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
    }
}
