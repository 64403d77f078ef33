//! Tests of single rules of the core; its behaviour as a whole is simulated in `tests/simulation`.

use super::{Action, Claim, Core, Generation, Input, LaneId, PartitionId, Settings, Tick};
use crate::fault::{Class, Code, Fault};

const LANE: LaneId = LaneId(0);
const PARTITION: PartitionId = PartitionId(0);

fn running(settings: Settings) -> Core {
    let mut core = Core::new(settings);
    let mut out = Vec::new();
    core.step(Tick(0), Input::Assigned(vec![(PARTITION, LANE)]), &mut out);
    let claimed = Input::Claimed {
        partition: PARTITION,
        generation: Generation(1),
        outcome: Ok(Claim { owner_epoch: 1, offset: 0 }),
    };
    core.step(Tick(0), claimed, &mut out);
    core
}

fn gather(core: &mut Core, now: u64, next: i64, rows: usize) -> Vec<Action> {
    let mut out = Vec::new();
    let progress = vec![(PARTITION, next)];
    core.step(Tick(now), Input::Gathered { lane: LANE, progress, rows, bytes: 0 }, &mut out);
    out
}

#[test]
fn a_lane_with_a_limit_of_its_own_is_full_sooner() {
    let mut core = running(Settings { batch_rows: 100, ..Settings::default() });
    core.limit_rows(LANE, 5);
    let _first_batch_is_under_way = gather(&mut core, 0, 10, 10);

    let few = gather(&mut core, 1, 14, 4);
    assert_eq!((few, core.takes(LANE)), (vec![], true));

    let enough = gather(&mut core, 1, 15, 5);
    assert_eq!((enough, core.takes(LANE)), (vec![], false));
}

#[test]
fn a_race_that_never_ends_stops_the_lane() {
    let mut core = running(Settings::default());
    let _sealed = gather(&mut core, 0, 10, 10);
    let race = || Fault::transient(Code::PostgresConflict, "the key exists").with_sqlstate("23505");
    let mut stopped = None;
    let mut now = 1;

    for attempt in 1..=20 {
        let mut out = Vec::new();
        let written = Input::Written { lane: LANE, batch: 1, outcome: Err(race()) };
        core.step(Tick(now), written, &mut out);
        if let Some(Action::LaneStopped { fault, .. }) =
            out.iter().find(|action| matches!(action, Action::LaneStopped { .. }))
        {
            stopped = Some((attempt, fault.code));
            break;
        }
        now += 60_000;
        core.step(Tick(now), Input::Woke, &mut out);
    }

    assert_eq!(stopped, Some((8, Code::KeyMismatch)));
}

/// A plan, or a source epoch, that could not be had because somebody else has claimed the partition since.
#[test]
fn a_lane_that_is_fenced_while_it_waits_claims_its_partitions_again() {
    let mut core = running(Settings::default());
    let mut out = Vec::new();
    core.step(Tick(1), Input::PlanNeeded(LANE), &mut out);
    assert!(out.contains(&Action::Resolve(LANE)), "{out:?}");
    out.clear();
    let fenced = Fault::new(Class::Fenced, Code::Fenced, "claimed by another worker");
    core.step(Tick(2), Input::Planned { lane: LANE, outcome: Err(fenced) }, &mut out);
    assert!(!out.iter().any(|action| matches!(action, Action::LaneStopped { .. })), "{out:?}");
    assert!(core.has_claims_under_way());
    out.clear();
    core.step(core.next_wake().unwrap(), Input::Woke, &mut out);
    assert!(
        matches!(&out[..], [Action::Claim { partitions, .. }] if *partitions == [PARTITION]),
        "{out:?}"
    );
}
