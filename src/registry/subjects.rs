//! Subjects: which there are, and the newest schema of one. For `plan`; the worker reads schemas by id only. Apicurio's own
//! API has no subjects: there the newest record tells what is newest.

use super::http::{Answer, Trouble};
use super::{Client, Source};
use crate::config::RegistryApi;
use crate::fault::{Code, Fault};
use serde::Deserialize;
use serde::de::DeserializeOwned;

impl Client {
    /// Every subject that may be seen.
    ///
    /// # Errors
    /// Transient `registry_unavailable` or `registry_unauthorized`.
    pub async fn subjects(&self) -> Result<Vec<String>, Fault> {
        Ok(self.source.ask("list the subjects", &["subjects"]).await?.unwrap_or_default())
    }

    /// Id of the newest schema of a subject; `None` when there is no such subject.
    ///
    /// # Errors
    /// Transient `registry_unavailable` or `registry_unauthorized`.
    pub async fn newest(&self, subject: &str) -> Result<Option<u32>, Fault> {
        #[derive(Deserialize)]
        struct Version {
            id: u32,
        }
        let doing = format!("get the newest schema of subject {subject}");
        let path = ["subjects", subject, "versions", "latest"];
        Ok(self.source.ask(&doing, &path).await?.map(|version: Version| version.id))
    }
}

impl Source {
    /// `None` for what does not exist (40401 for a subject, 40402 for its version).
    async fn ask<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &[&str],
    ) -> Result<Option<T>, Fault> {
        if self.api == RegistryApi::Apicurio {
            return Ok(None);
        }
        let attempt = format!("could not {doing} from the registry at {}", self.http.address());
        let unavailable =
            |why: &str| Fault::transient(Code::RegistryUnavailable, format!("{attempt}: {why}"));
        match self.http.get(path).await {
            Ok(Answer::Found(body)) => serde_json::from_str(&body)
                .map(Some)
                .map_err(|_| unavailable("the answer is none of a registry's")),
            Ok(Answer::NotFound(_)) => Ok(None),
            Err(Trouble::Status(status @ (401 | 403))) => Err(Fault::transient(
                Code::RegistryUnauthorized,
                format!("{attempt}: status {status}"),
            )
            .with_hint("check user and password in [registry], and that they may read subjects")),
            Err(Trouble::Status(status)) => Err(unavailable(&format!("status {status}"))),
            Err(Trouble::Broken(why)) => Err(unavailable(&why)),
        }
    }
}
