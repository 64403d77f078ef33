//! Subjects: which there are, and the newest schema of one. For `plan`; the worker reads schemas by id only.

use super::http::Trouble;
use super::{Client, Confluent};
use crate::fault::{Code, Fault};

impl Client {
    /// Every subject that may be seen.
    ///
    /// # Errors
    /// Transient `registry_unavailable` or `registry_unauthorized`; blocked where the registry is asked through Apicurio's
    /// own API, which knows artifacts and no subjects.
    pub async fn subjects(&self) -> Result<Vec<String>, Fault> {
        let subjects = self.confluent()?.subjects();
        self.patiently("list the subjects", subjects).await
    }

    /// Id of the newest schema of a subject; `None` when there is no such subject.
    ///
    /// # Errors
    /// As [`Client::subjects`].
    pub async fn newest(&self, subject: &str) -> Result<Option<u32>, Fault> {
        let newest = self.confluent()?.newest(subject);
        self.patiently(&format!("get the newest schema of subject {subject}"), newest).await
    }

    fn confluent(&self) -> Result<&Confluent, Fault> {
        self.source.confluent.as_ref().ok_or_else(|| {
            Fault::blocked(
                Code::Configuration,
                "Apicurio's own API has no subjects",
                "give the URL of Apicurio's Confluent-compatible endpoint (/apis/ccompat/v7) with [registry] api = \"confluent\"",
            )
        })
    }

    async fn patiently<T>(
        &self,
        doing: &str,
        asked: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Fault> {
        let patience = self.source.patience;
        let answer = tokio::time::timeout(patience, asked).await.unwrap_or_else(|_| {
            Err(Trouble::Broken(format!("no answer within {} ms", patience.as_millis())))
        });
        answer.map_err(|trouble| self.source.fault(doing, trouble))
    }
}
