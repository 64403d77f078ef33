//! The shell that runs the decision core: opens the adapters, starts the intake thread, waits for it.
//!
//! [`intake`] is the one loop: [`taking`] decodes and folds a record, [`perform`] does what the core decides,
//! [`outcomes`] hears what jobs answer, [`trouble`] tells people, [`membership`] knows whose partitions are whose, [`lane`] and [`table`] are what is held per lane.
//! [`claim`], [`resolve`], [`epochs`] and [`writers`] are the jobs on the runtime; every job answers with a [`report::Report`].

mod claim;
mod epochs;
mod intake;
mod lane;
mod letters;
mod membership;
mod outcomes;
mod perform;
mod report;
mod resolve;
mod suspicions;
mod table;
mod taking;
mod topics;
mod trouble;
mod writers;

use crate::config::Config;
use crate::fault::{Class, Code, Fault};
use crate::kafka::consumer::Consumer;
use crate::kafka::facts::Facts;
use crate::kafka::letters::Letters;
use crate::postgres::Destination;
use crate::registry;
use crate::telemetry::health::Health;
use report::{Report, Reports};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// How a worker is to run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Exit as soon as each assigned partition has reached the end offset that it had when it was claimed.
    pub until_caught_up: bool,
}

/// What the worker's parts share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) destination: Destination,
    pub(crate) registry: Option<registry::Client>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) owner: String,
    pub(crate) health: Arc<Health>,
}

/// Runs a worker until `stop` is cancelled (drain, then exit) or, with [`Options::until_caught_up`], until it has caught
/// up. A dependency that cannot be reached at the start is waited for, and said once.
///
/// # Errors
/// What makes going on impossible: a wrong password, a topic set that contradicts the routes, a fatal client error; with
/// `until_caught_up` also a lane or partition that stopped.
pub async fn run(
    config: Config,
    options: Options,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<(), Fault> {
    let Some(shared) = connect(config, health, &stop).await? else { return Ok(()) };
    let shared = Arc::new(shared);
    let (reports, inbox) = report::channel();
    let stopper = reports.clone();
    let stopping = stop.clone();
    let signal = tokio::task::spawn(async move {
        stopping.cancelled().await;
        stopper.send(Report::Stop);
    });
    let Some((topics, partitions)) = patiently(&KAFKA, &shared.health, &stop, async || {
        topics::matching(&shared.config, &shared.facts, options.until_caught_up).await
    })
    .await?
    else {
        return Ok(());
    };
    let watch =
        tokio::task::spawn(topics::watch(Arc::clone(&shared), reports.clone(), topics.clone()));
    let outcome = start_intake(&shared, options, (topics, partitions), reports, inbox).await;
    signal.abort();
    watch.abort();
    outcome
}

async fn start_intake(
    shared: &Arc<Shared>,
    options: Options,
    (topics, partitions): (Vec<String>, usize),
    reports: Reports,
    inbox: report::Inbox,
) -> Result<(), Fault> {
    let runtime = Handle::current();
    let shared = Arc::clone(shared);
    let (done, outcome) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name("intake".to_owned()).spawn(move || {
        let result = open_intake(shared, options, (&topics, partitions), reports, runtime)
            .and_then(|intake| intake.run(&inbox));
        // The receiver only goes away with the whole program.
        let _gone = done.send(result);
    });
    if let Err(error) = thread {
        return Err(Fault::new(
            Class::Fatal,
            Code::Internal,
            format!("could not start the intake thread: {error}"),
        ));
    }
    outcome.await.unwrap_or_else(|_| {
        Err(Fault::new(Class::Fatal, Code::Internal, "the intake thread panicked"))
    })
}

fn open_intake(
    shared: Arc<Shared>,
    options: Options,
    (topics, partitions): (&[String], usize),
    reports: Reports,
    runtime: Handle,
) -> Result<intake::Intake, Fault> {
    let config = &shared.config;
    let (client_id, waker) = (format!("silversink-{}", config.name), reports.clone());
    let consumer = Consumer::open_fed(&config.kafka, &client_id, partitions, move || waker.wake())?;
    let letters = match &config.dlq {
        Some(dlq) => Some(Letters::open(&config.kafka, &dlq.topic)?),
        None => None,
    };
    if let Some((letters, _)) = &letters
        && let Err(fault) = letters.ensure_topic()
    {
        // It may be created by hand, or by the broker at the first letter; a letter waits until then.
        tracing::warn!(
            code = fault.code.as_str(),
            "the dead-letter topic could not be made sure of: {}",
            fault.text
        );
    }
    if !topics.is_empty() {
        consumer.subscribe(topics)?;
    }
    Ok(intake::Intake::new(shared, options, consumer, letters, reports, runtime))
}

/// Opens everything that must be there before the first record, and waits for what is not there yet. `None` when `stop`
/// came first.
async fn connect(
    config: Config,
    health: Arc<Health>,
    stop: &CancellationToken,
) -> Result<Option<Shared>, Fault> {
    let owner = owner_name();
    let Some(destination) = patiently(&POSTGRES, &health, stop, async || {
        let destination = Destination::connect(
            &config.postgres,
            config.limits.writers,
            &format!("silversink {}", config.name),
        )
        .await?;
        destination.ensure_bookkeeping().await?;
        Ok(destination)
    })
    .await?
    else {
        return Ok(None);
    };
    health.set_postgres_reachable(true);
    let kafka = config.kafka.clone();
    let Some(facts) = patiently(&KAFKA, &health, stop, async || {
        let kafka = kafka.clone();
        blocking(move || {
            let facts = Facts::open(&kafka)?;
            facts.probe()?;
            Ok(Arc::new(facts))
        })
        .await
    })
    .await?
    else {
        return Ok(None);
    };
    let registry = config.registry.as_ref().map(registry::Client::open).transpose()?;
    Ok(Some(Shared { config, destination, registry, facts, owner, health }))
}

/// Something outside that the worker cannot start without.
struct Dependency {
    name: &'static str,
    hint: &'static str,
}

const POSTGRES: Dependency = Dependency {
    name: "PostgreSQL",
    hint: "start the server, or correct [postgres] url and restart; the worker goes on by itself as soon as it answers",
};
const KAFKA: Dependency = Dependency {
    name: "Kafka",
    hint: "start the brokers, or correct [kafka] bootstrap_servers and restart; the worker goes on by itself as soon as one answers",
};

/// Repeats `attempt` until it succeeds, fails for good, or `stop` comes. Says once that it waits, and once that it is over.
async fn patiently<T>(
    what: &Dependency,
    health: &Health,
    stop: &CancellationToken,
    attempt: impl AsyncFn() -> Result<T, Fault>,
) -> Result<Option<T>, Fault> {
    let mut wait = Duration::from_millis(250);
    let mut said = false;
    let Dependency { name, hint } = what;
    health.set_trouble(*name, "connecting");
    loop {
        let outcome = tokio::select! {
            biased; // a stop must not wait for a connection
            () = stop.cancelled() => return Ok(None),
            outcome = attempt() => outcome,
        };
        match outcome {
            Ok(value) => {
                health.clear_trouble(name);
                if said {
                    tracing::info!("{name} answers: going on");
                }
                return Ok(Some(value));
            }
            Err(fault) if fault.class == Class::Transient => {
                health.set_trouble(*name, format!("waiting {fault}"));
                if !std::mem::replace(&mut said, true) {
                    tracing::warn!(
                        code = fault.code.as_str(),
                        hint = fault.hint.as_deref().unwrap_or(hint),
                        "waiting for {name}: {}",
                        fault.text
                    );
                }
            }
            Err(fault) => return Err(fault),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(wait) => {}
        }
        wait = (wait * 2).min(Duration::from_secs(5));
    }
}

/// Runs a blocking call of the Kafka client where it may block.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(call).await.unwrap_or_else(|_| {
        Err(Fault::new(Class::Fatal, Code::Internal, "a blocking call panicked"))
    })
}

/// Who we are in `silversink.position`: host and process, so that on-call can find us.
pub(crate) fn owner_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}/{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}
