//! One GET of a registry: what came back, with no verdict on what it means.

use crate::config;
use crate::fault::{Class, Code, Fault};
use secrecy::{ExposeSecret, SecretString};
use std::error::Error as _;
use std::time::Duration;

/// Longer answers are not read: the largest schema of a wide table is far below.
const MAX_BODY: usize = 16 << 20;

/// Asks one registry.
pub(super) struct Http {
    client: reqwest::Client,
    base: reqwest::Url,
    user: Option<String>,
    password: Option<SecretString>,
}

/// What came back.
pub(super) enum Answer {
    /// Status 200 and its body.
    Found(String),
    /// Status 404 and its body.
    NotFound(String),
}

/// Why nothing usable came back, through whichever client.
pub(super) enum Trouble {
    /// Status 404 with the registry's own word that there is no such id.
    Unknown,
    /// Status 404 without it.
    NotFound,
    /// Any other status.
    Status(u16),
    /// No answer, or one that ends early; holds no URL, which might hold credentials.
    Broken(String),
}

impl Http {
    /// Prepares the client; nothing is asked yet.
    ///
    /// # Errors
    /// Fatal `configuration`: the URL or the certificate file cannot be used.
    pub(super) fn open(registry: &config::Registry, patience: Duration) -> Result<Self, Fault> {
        let base = reqwest::Url::parse(&registry.url)
            .map_err(|e| wrong(format!("[registry] url is no URL: {e}")))?;
        if base.host_str().is_none() || base.cannot_be_a_base() {
            return Err(wrong("[registry] url has no host".to_owned()));
        }
        let client = builder(registry, patience)?
            .build()
            .map_err(|e| wrong(format!("the HTTP client refuses its settings: {e}")))?;
        let (user, password) = (registry.user.clone(), registry.password.clone());
        Ok(Self { client, base, user, password })
    }

    /// Scheme, host and port, without credentials.
    pub(super) fn address(&self) -> String {
        let port = self.base.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.base.scheme(), self.base.host_str().unwrap_or_default())
    }

    /// Path of the base URL, without a slash at its end.
    pub(super) fn path(&self) -> &str {
        self.base.path().trim_end_matches('/')
    }

    /// Asks for the path below the base that these segments make; they are quoted here.
    pub(super) async fn get(&self, segments: &[&str]) -> Result<Answer, Trouble> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let mut request = self.client.get(url).header("accept", "*/*");
        if let Some(user) = &self.user {
            request =
                request.basic_auth(user, self.password.as_ref().map(ExposeSecret::expose_secret));
        }
        let mut response = request.send().await.map_err(broken)?;
        let status = response.status().as_u16();
        if !matches!(status, 200 | 404) {
            return Err(Trouble::Status(status));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(Trouble::Broken(format!("an answer of more than {MAX_BODY} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        let body = String::from_utf8(body)
            .map_err(|_| Trouble::Broken("an answer that is no UTF-8".to_owned()))?;
        Ok(if status == 200 { Answer::Found(body) } else { Answer::NotFound(body) })
    }
}

/// The settings that both clients of the registry share.
///
/// # Errors
/// Fatal `configuration`: the certificate file cannot be used.
pub(super) fn builder(
    registry: &config::Registry,
    patience: Duration,
) -> Result<reqwest::ClientBuilder, Fault> {
    let mut builder = reqwest::Client::builder().connect_timeout(patience).timeout(patience);
    if let Some(path) = &registry.ca {
        let pem = std::fs::read(path)
            .map_err(|e| wrong(format!("[registry] ca {}: {e}", path.display())))?;
        let certificate = reqwest::Certificate::from_pem(&pem)
            .map_err(|_| wrong(format!("[registry] ca {}: no PEM certificate", path.display())))?;
        builder = builder.add_root_certificate(certificate);
    }
    Ok(builder)
}

fn wrong(why: String) -> Fault {
    Fault::new(
        Class::Fatal,
        Code::Configuration,
        format!("could not open the schema registry client: {why}"),
    )
}

/// The outermost and the innermost cause, without the URL.
fn broken(error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    let mut innermost = error.source();
    while let Some(deeper) = innermost.and_then(std::error::Error::source) {
        innermost = Some(deeper);
    }
    Trouble::Broken(
        innermost.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")),
    )
}
