//! A full lane takes nothing until the batch before has landed; the others go on.

use super::{Action, Claim, Core, Generation, Input, LaneId, PartitionId, Settings, Tick};

const LANE: LaneId = LaneId(0);
const OTHER: LaneId = LaneId(1);

fn step(core: &mut Core, at: u64, input: Input) -> Vec<Action> {
    let mut out = Vec::new();
    core.step(Tick(at), input, &mut out);
    out
}

fn gathered(lane: LaneId, next: i64, bytes: usize) -> Input {
    Input::Gathered { lane, progress: vec![(PartitionId(lane.0), next)], rows: 10, bytes }
}

fn running(settings: Settings) -> Core {
    let mut core = Core::new(settings);
    for lane in [LANE, OTHER] {
        let partition = PartitionId(lane.0);
        step(&mut core, 0, Input::Assigned(vec![(partition, lane)]));
        let outcome = Ok(Claim { owner_epoch: 1, offset: 0 });
        let generation = Generation(u64::from(lane.0) + 1);
        step(&mut core, 0, Input::Claimed { partition, generation, outcome });
    }
    core
}

/// A core of two lanes: the first batch of one is being written, and its second is full.
fn full() -> Core {
    let mut core = running(Settings { batch_rows: 10, ..Settings::default() });
    step(&mut core, 1, gathered(LANE, 10, 10));
    assert!(core.takes(LANE));
    assert_eq!(step(&mut core, 2, gathered(LANE, 20, 10)), []);
    assert!(!core.takes(LANE));
    core
}

#[test]
fn a_full_lane_takes_nothing_until_its_batch_lands_and_nothing_is_paused() {
    let mut core = full();
    assert!(core.takes(OTHER));
    let actions = step(&mut core, 40, Input::Written { lane: LANE, batch: 1, outcome: Ok(()) });
    assert!(core.takes(LANE));
    assert!(actions.iter().any(|action| matches!(action, Action::Seal { .. })), "{actions:?}");
    assert!(!actions.iter().any(|action| matches!(action, Action::Pause(_))), "{actions:?}");
}

#[test]
fn a_lane_that_stops_while_it_is_full_drains_what_was_fetched() {
    let mut core = full();
    let fault = crate::fault::Fault::blocked(crate::fault::Code::TableMissing, "gone", "make it");
    step(&mut core, 10, Input::LaneFailed { lane: LANE, fault });
    assert!(core.takes(LANE));
}

#[test]
fn when_memory_is_short_a_lane_above_its_share_waits_and_the_others_go_on() {
    let mut core = running(Settings { memory_bytes: 100, ..Settings::default() });
    step(&mut core, 1, gathered(LANE, 10, 60));
    step(&mut core, 2, gathered(LANE, 20, 60));
    assert_eq!((core.takes(LANE), core.takes(OTHER)), (false, true));
}
