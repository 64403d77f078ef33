//! Plans: the MERGE must find its rows by the key's index, whatever the target, the batch and the server's settings. The
//! server itself tells which plan the writer's own statement had (`auto_explain`).

use crate::rows::{F::*, Lane, R, delete, partial, whole};
use crate::server::{Database, Server};
use silversink::table::{Bookkeeping, TableName};
use std::sync::Arc;

/// The planner's defaults as they mislead it, and the log of every plan under its database's name.
pub const SETTINGS: [&str; 7] = [
    "session_preload_libraries=auto_explain",
    "auto_explain.log_min_duration=0",
    "auto_explain.log_nested_statements=on",
    "jit=on",
    "random_page_cost=4",
    "work_mem=256MB",
    "log_line_prefix=%d~",
];

const TABLE: &str = "CREATE SCHEMA s; CREATE TABLE s.orders (id bigint PRIMARY KEY, name text, \
    _version bytea NOT NULL, _deleted_at timestamptz, _source_ts timestamptz, _applied_at timestamptz)";
const VACUUM: &str = "VACUUM ANALYZE s.orders";
const CHURN: &str = "UPDATE s.orders SET name = name || 'x'";
const LARGE: i64 = 200_000;

/// Rows below every version, under the keys from 1 on.
fn filled(rows: i64) -> String {
    format!(
        "INSERT INTO s.orders SELECT i, 'n', decode(repeat('00', 37), 'hex') FROM generate_series(1, {rows}) AS i"
    )
}

/// Targets, and how each came to be what it is.
fn targets() -> Vec<(&'static str, Vec<String>)> {
    let steps = |steps: &[&str]| steps.iter().map(|&step| step.to_owned()).collect::<Vec<_>>();
    let after = |rows, then: &[&str]| [vec![filled(rows)], steps(then)].concat();
    vec![
        ("fresh", steps(&[])),
        // It is known to be empty, which invites a sequential scan.
        ("empty", steps(&[VACUUM])),
        ("small", after(300, &[VACUUM])),
        ("large", after(LARGE, &[VACUUM])),
        ("bloated", after(50_000, &[CHURN, CHURN, CHURN, "ANALYZE s.orders"])),
        ("emptied", after(50_000, &["ANALYZE s.orders", "DELETE FROM s.orders"])),
        ("never analysed", after(LARGE, &[])),
        ("analysed when it was empty", [steps(&[VACUUM]), after(LARGE, &[])].concat()),
    ]
}

/// The keys `from..from + count`, all at version `v`.
fn rows(from: i64, count: i64, v: u64) -> Vec<R> {
    (from..from + count).map(|id| whole(v, vec![I(id), T("new")])).collect()
}

/// The plans of MERGEs that a database's sessions logged.
fn merges(log: &str, database: &str) -> Vec<String> {
    let mut plans: Vec<String> = Vec::new();
    let mut ours = false;
    for line in log.lines() {
        // What belongs to the line above is indented.
        if !line.starts_with('\t') {
            ours = line.starts_with(&format!("{database}~LOG:  duration:"));
            if ours {
                plans.push(String::new());
            }
        } else if ours && let Some(plan) = plans.last_mut() {
            plan.push_str(line);
            plan.push('\n');
        }
    }
    plans.retain(|plan| plan.contains("Merge on "));
    plans
}

/// Batches of every size into every target. `port` is the server's, or that of whatever stands before it.
pub async fn every_merge_uses_the_key_index(server: &Server, port: u16) {
    for (target, steps) in targets() {
        let direct = server.database().await;
        direct.sql(TABLE).await;
        for step in &steps {
            direct.sql(step).await;
        }
        let destination = Database { name: direct.name.clone(), port }.destination().await;
        let name = TableName::new("s", "orders");
        let described =
            destination.describe(&name, &Bookkeeping::default()).await.unwrap().unwrap();
        let mut lane = Lane::open(destination, Arc::new(described.shape), 1).await;
        let mut batches = vec![rows(1, 20_000, 1)];
        // With it the batch is merged into an empty table, too.
        batches[0].push(delete(1, vec![I(0), Null]));
        // A plan that is kept is made after five executions: the first of these batches must not spoil the last one.
        batches.extend((2..9).map(|v| rows(1, 1, v)));
        batches.push(rows(1, 20_000, 9));
        batches.push(rows(LARGE, 2_000, 10));
        batches.push(vec![partial(11, vec![I(1), Null], &[1], true)]);
        for (n, batch) in batches.into_iter().enumerate() {
            let (before, offered) = (server.log().len(), batch.len());
            lane.write(batch).await.unwrap();
            let plans = merges(&server.log()[before..], &direct.name);
            assert_eq!(plans.len(), 1, "{target}, batch {n}");
            for plan in plans {
                let what = format!("{target}, batch {n} of {offered} rows:\n{plan}");
                assert!(plan.contains("Index Cond: (id = s.c0)"), "{what}");
                assert!(!plan.contains("Seq Scan on orders"), "{what}");
                assert!(!plan.contains("JIT:"), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn every_merge_finds_its_rows_by_the_key_index() {
    let server = Server::start("password", &SETTINGS);
    every_merge_uses_the_key_index(&server, server.port()).await;
}
