//! The schema registry: schema text by id, with our own classification of what goes wrong.
//!
//! # Decisions
//! - Only the registry's own word that an id does not exist is a record's fault. Every other answer, 404 without that word
//!   included, is the environment's: waited for, never remembered (F8, I7).
//! - Ids of Confluent's protocol and what schemas refer to there are asked for through `schema_registry_converter`; GUIDs
//!   and Apicurio's own ids, which it does not know, by plain HTTP. All answers come together in one form ([`protocol`]),
//!   which is walked, checked and classified here once.
//! - One question per id at a time; whoever asks meanwhile gets the same answer, failures included.
//! - Apicurio is asked through its own v3 API where records carry its ids, since its Confluent-compatible endpoint knows
//!   one kind of id and a setting of the server decides which (`[registry] api`). With `api = "confluent"` and that
//!   endpoint's URL, records with four bytes of the endpoint's kind can be read as well.
//! - A copy on disk (`[registry] cache_dir`) is the answer when the registry gives none: the registry is asked first, so
//!   that an emptied registry that gives ids anew is noticed while it is up.

mod confluent;
mod copies;
mod http;
mod protocol;
mod references;
mod subjects;
#[cfg(test)]
mod tests;

use crate::config::{self, RegistryApi};
use crate::decode::RegistryId;
use crate::fault::{Code, Fault};
use confluent::Confluent;
use copies::{Copies, Copy};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use http::{Answer, Http, Trouble};
use protocol::{Path, Place, Reference, Schema};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time that one schema may take, its references included.
const PATIENCE: Duration = Duration::from_secs(10);
/// References of references of references; real registries hold a handful.
const MAX_REFERENCES: usize = 200;
/// Where Apicurio's own API stands when `[registry] url` has no path.
const APICURIO_PATH: &str = "/apis/registry/v3";

type Fetched = Result<Arc<str>, Fault>;
type Question = Shared<BoxFuture<'static, Fetched>>;

/// Fetches schemas. Cheap to share; holds what it has fetched, and only that: schemas never change under their id.
pub struct Client {
    source: Arc<Source>,
    known: Mutex<HashMap<RegistryId, Arc<str>>>,
    asked: Mutex<HashMap<RegistryId, Question>>,
}

/// Where schemas come from.
struct Source {
    /// Asks for the ids of Confluent's protocol; absent where Apicurio's own API is spoken.
    confluent: Option<Confluent>,
    /// Asks for everything else.
    http: Http,
    api: RegistryApi,
    copies: Option<Copies>,
    patience: Duration,
}

impl Client {
    /// Prepares the client; nothing is asked yet.
    ///
    /// # Errors
    /// Fatal `configuration`: the URL, the certificate file or the directory of copies cannot be used.
    pub fn open(registry: &config::Registry) -> Result<Self, Fault> {
        Self::open_with(registry, PATIENCE)
    }

    fn open_with(registry: &config::Registry, patience: Duration) -> Result<Self, Fault> {
        let http = Http::open(registry, patience)?;
        let copies = match &registry.cache_dir {
            Some(directory) => Some(Copies::open(directory, registry)?),
            None => None,
        };
        let confluent = match registry.api {
            RegistryApi::Confluent => {
                let builder = http::builder(registry, patience)?;
                Some(Confluent::open(registry, builder, patience)?)
            }
            RegistryApi::Apicurio => None,
        };
        let source = Arc::new(Source { confluent, http, api: registry.api, copies, patience });
        Ok(Self { source, known: Mutex::default(), asked: Mutex::default() })
    }

    /// The Avro schema with this id as one self-contained JSON text: each referenced type stands at its first use as a
    /// nested definition, so any Avro parser takes it.
    ///
    /// # Errors
    /// Poison `schema_unknown` only when the registry itself says that the id does not exist (the caller grants a grace
    /// for replicas that lag); poison `schema_unusable` when the schema is not Avro; blocked `configuration` when the
    /// registry's protocol knows no ids of this kind; transient `registry_unauthorized` and `registry_unavailable` for
    /// everything else, however final the registry makes it sound.
    pub async fn schema(&self, id: RegistryId) -> Fetched {
        let question = {
            let known = locked(&self.known);
            if let Some(text) = known.get(&id) {
                return Ok(Arc::clone(text));
            }
            // Under both locks, so that an answer that is just being stored is not asked for again.
            let mut asked = locked(&self.asked);
            asked
                .entry(id)
                .or_insert_with(|| Arc::clone(&self.source).answer(id).boxed().shared())
                .clone()
        };
        let answer = question.clone().await;
        let mut known = locked(&self.known);
        if let Ok(text) = &answer {
            known.insert(id, Arc::clone(text));
        }
        let mut asked = locked(&self.asked);
        if asked.get(&id).is_some_and(|current| current.ptr_eq(&question)) {
            asked.remove(&id);
        }
        answer
    }
}

/// A panic elsewhere cannot leave a map half written: each change is one call.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source {
    async fn answer(self: Arc<Self>, id: RegistryId) -> Fetched {
        let fetched = tokio::time::timeout(self.patience, self.fetch(id)).await;
        let fetched = fetched.unwrap_or_else(|_| {
            let why = format!("no complete answer within {} ms", self.patience.as_millis());
            Err(self.schema_fault(id, Trouble::Broken(why)))
        });
        let Some(copies) = self.copies.clone() else { return fetched };
        match fetched {
            Ok(text) => {
                let copy = Arc::clone(&text);
                on_disk(move || keep(&copies, id, &copy)).await;
                Ok(text)
            }
            Err(fault) if fault.code == Code::SchemaUnusable => Err(fault),
            Err(fault) => match on_disk(move || copies.read(id)).await {
                Some(Ok(Copy::Schema(text))) => {
                    tracing::warn!(schema = %id, "schema taken from the copy on disk: {fault}");
                    Ok(Arc::from(text))
                }
                Some(Ok(Copy::Damaged)) => {
                    tracing::warn!(schema = %id, "the schema's copy on disk is damaged and not used");
                    Err(fault)
                }
                Some(Err(e)) => {
                    tracing::warn!(schema = %id, "could not read the schema's copy on disk: {e}");
                    Err(fault)
                }
                Some(Ok(Copy::Missing)) | None => Err(fault),
            },
        }
    }

    async fn fetch(&self, id: RegistryId) -> Fetched {
        let root = self.root(id).await?;
        if let Some(kind) = root.other_kind {
            let address = self.http.address();
            let text = format!("schema {id} of the registry at {address} is {kind}, not Avro");
            return Err(Fault::poison(Code::SchemaUnusable, text));
        }
        if root.references.is_empty() {
            return Ok(Arc::from(root.text));
        }
        let referenced = self.referenced(id, root.references).await?;
        references::inline(&root.text, &referenced).map(Arc::from).map_err(|why| {
            Fault::poison(
                Code::SchemaUnusable,
                format!("could not resolve the references of schema {id}: {why}"),
            )
        })
    }

    async fn root(&self, id: RegistryId) -> Result<Schema, Fault> {
        let answer = if let (RegistryId::Confluent(number), Some(confluent)) = (id, &self.confluent)
        {
            confluent.schema(number).await
        } else {
            let Some((path, references)) = protocol::paths(self.api, id) else {
                return Err(Fault::blocked(
                    Code::Configuration,
                    format!(
                        "a record refers to schema {id}, an id that the API of the registry at {} does not have",
                        self.http.address()
                    ),
                    "set [registry] api to the registry that wrote the records: \"confluent\" or \"apicurio\"",
                ));
            };
            self.at(&path, references.as_ref()).await
        };
        answer.map_err(|trouble| match trouble {
            Trouble::Unknown => Fault::poison(
                Code::SchemaUnknown,
                format!("schema {id} does not exist in the registry at {}", self.http.address()),
            ),
            Trouble::NotFound => self.wrong_path(id),
            trouble => self.schema_fault(id, trouble),
        })
    }

    /// Every schema that is reached from these references, by the name under which it is referenced.
    async fn referenced(
        &self,
        id: RegistryId,
        mut open: Vec<Reference>,
    ) -> Result<BTreeMap<String, String>, Fault> {
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        while let Some(reference) = open.pop() {
            if found.contains_key(&reference.name) {
                continue;
            }
            if found.len() == MAX_REFERENCES {
                let text = format!("schema {id} has more than {MAX_REFERENCES} references");
                return Err(Fault::poison(Code::SchemaUnusable, text));
            }
            let answer = match (&reference.place, &self.confluent) {
                (Place::Subject { subject, version }, Some(confluent)) => {
                    confluent.version(subject, *version).await
                }
                (Place::Subject { .. }, None) => Err(Trouble::NotFound),
                (Place::Paths { schema, references }, _) => self.at(schema, Some(references)).await,
            };
            let mut schema = answer.map_err(|trouble| match trouble {
                // Its own inconsistency, not a property of the record.
                Trouble::Unknown | Trouble::NotFound => {
                    let why = "something that it refers to is not found".to_owned();
                    self.schema_fault(id, Trouble::Broken(why))
                }
                trouble => self.schema_fault(id, trouble),
            })?;
            open.append(&mut schema.references);
            found.insert(reference.name, schema.text);
        }
        Ok(found)
    }

    /// The schema at a path, with the references that stand at another.
    async fn at(&self, path: &Path, references: Option<&Path>) -> Result<Schema, Trouble> {
        let mut schema = protocol::schema(self.api, self.get(path).await?).map_err(not_schema)?;
        if let Some(path) = references {
            let body = match self.get(path).await {
                // The schema itself is there.
                Err(Trouble::Unknown | Trouble::NotFound) => {
                    return Err(Trouble::Broken("its references are not found".to_owned()));
                }
                answer => answer?,
            };
            schema.references =
                protocol::references(&body).map_err(|why| Trouble::Broken(why.to_owned()))?;
        }
        Ok(schema)
    }

    async fn get(&self, path: &Path) -> Result<String, Trouble> {
        let below = match self.api {
            RegistryApi::Apicurio if self.http.path().is_empty() => APICURIO_PATH,
            _ => "",
        };
        let segments: Vec<&str> = below
            .split('/')
            .filter(|segment| !segment.is_empty())
            .chain(path.iter().map(String::as_str))
            .collect();
        match self.http.get(&segments).await? {
            Answer::Found(body) => Ok(body),
            Answer::NotFound(body) if protocol::is_unknown(self.api, &body) => {
                Err(Trouble::Unknown)
            }
            Answer::NotFound(_) => Err(Trouble::NotFound),
        }
    }

    fn wrong_path(&self, id: RegistryId) -> Fault {
        let hint = match id {
            RegistryId::Guid(_) => {
                "only registries with /schemas/guids (Confluent since 8.0) know schemas by GUID; check [registry] url"
            }
            _ => {
                "check the path in [registry] url, and [registry] api: a registry says of an unknown id that it is unknown, not just 404"
            }
        };
        let why = "status 404 that is not the registry's word on the id".to_owned();
        self.schema_fault(id, Trouble::Broken(why)).with_hint(hint)
    }

    fn schema_fault(&self, id: RegistryId, trouble: Trouble) -> Fault {
        self.fault(&format!("get schema {id}"), trouble)
    }

    /// What went wrong with the registry itself: never a record's fault.
    fn fault(&self, doing: &str, trouble: Trouble) -> Fault {
        let attempt = format!("could not {doing} from the registry at {}", self.http.address());
        let why = match trouble {
            Trouble::Status(status @ (401 | 403)) => {
                let text = format!("{attempt}: status {status}");
                return Fault::transient(Code::RegistryUnauthorized, text)
                    .with_hint("check user and password in [registry], and that they may read subjects and schemas");
            }
            Trouble::Status(status) => format!("status {status}"),
            Trouble::Broken(why) => why,
            Trouble::Unknown | Trouble::NotFound => "status 404".to_owned(),
        };
        Fault::transient(Code::RegistryUnavailable, format!("{attempt}: {why}"))
            .with_hint("look at the registry and at [registry] url; the worker goes on by itself as soon as it answers")
    }
}

fn not_schema(why: &str) -> Trouble {
    Trouble::Broken(format!("the answer is no schema: {why}"))
}

/// Does what touches the disk on a thread that may wait for it; `None` when the runtime is about to end.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Writes a copy unless the same one is there; one that says something else is replaced and told.
fn keep(copies: &Copies, id: RegistryId, text: &str) {
    match copies.read(id) {
        Ok(Copy::Schema(copy)) if copy == text => return,
        Ok(Copy::Schema(_)) => {
            tracing::warn!(schema = %id, "the registry has another schema under this id than before");
        }
        Ok(Copy::Damaged) => {
            tracing::warn!(schema = %id, "the schema's copy on disk was damaged: written again");
        }
        Ok(Copy::Missing) | Err(_) => {}
    }
    if let Err(e) = copies.write(id, text) {
        tracing::warn!(schema = %id, "could not keep a copy of the schema on disk: {e}");
    }
}
