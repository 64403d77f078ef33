//! Subjects: which there are, and the newest schema of one. For `plan`; the worker reads schemas by id only.

use super::{Client, status};
use crate::fault::{Code, Fault};
use schema_registry_converter::async_impl::schema_registry::{
    get_all_subjects, get_schema_by_subject_and_version,
};
use schema_registry_converter::error::SRCError;

impl Client {
    /// Every subject that may be seen.
    ///
    /// # Errors
    /// Transient `registry_unavailable` or `registry_unauthorized`.
    pub async fn subjects(&self) -> Result<Vec<String>, Fault> {
        self.patiently("list the subjects", get_all_subjects(&self.settings)).await
    }

    /// Id of the newest schema of a subject; `None` when there is no such subject.
    ///
    /// # Errors
    /// Transient `registry_unavailable` or `registry_unauthorized`.
    pub async fn newest(&self, subject: &str) -> Result<Option<u32>, Fault> {
        let asked = async {
            match get_schema_by_subject_and_version(&self.settings, subject, None).await {
                Ok(schema) => Ok(Some(schema.id)),
                // 40401 for the subject, 40402 for its version: either way there is none.
                Err(error) if status(&error) == Some(404) => Ok(None),
                Err(error) => Err(error),
            }
        };
        self.patiently(&format!("get the newest schema of subject {subject}"), asked).await
    }

    async fn patiently<T>(
        &self,
        doing: &str,
        asked: impl Future<Output = Result<T, SRCError>>,
    ) -> Result<T, Fault> {
        let attempt = format!("could not {doing} from the registry at {}", self.address);
        let Ok(answer) = tokio::time::timeout(self.patience, asked).await else {
            let text = format!("{attempt}: no answer within {} ms", self.patience.as_millis());
            return Err(Fault::transient(Code::RegistryUnavailable, text));
        };
        answer.map_err(|error| match status(&error) {
            Some(status @ (401 | 403)) => {
                Fault::transient(Code::RegistryUnauthorized, format!("{attempt}: status {status}"))
                    .with_hint(
                        "check user and password in [registry], and that they may read subjects",
                    )
            }
            Some(status) => {
                Fault::transient(Code::RegistryUnavailable, format!("{attempt}: status {status}"))
            }
            // The crate's own text; its cause may hold the URL with its credentials.
            None => {
                Fault::transient(Code::RegistryUnavailable, format!("{attempt}: {}", error.error))
            }
        })
    }
}
