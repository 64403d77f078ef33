//! A full lane first holds the intake still, and is paused only when that lasts.

use super::{Action, Claim, Core, Generation, Input, LaneId, PartitionId, Settings, Tick};

const LANE: LaneId = LaneId(0);
const PARTITION: PartitionId = PartitionId(0);

fn step(core: &mut Core, at: u64, input: Input) -> Vec<Action> {
    let mut out = Vec::new();
    core.step(Tick(at), input, &mut out);
    out
}

fn gathered(next: i64) -> Input {
    Input::Gathered { lane: LANE, progress: vec![(PARTITION, next)], rows: 10, bytes: 10 }
}

/// A core whose first batch is being written and whose second is full since tick 2.
fn full() -> Core {
    let mut core = Core::new(Settings { batch_rows: 10, hold_ms: 50, ..Settings::default() });
    step(&mut core, 0, Input::Assigned(vec![(PARTITION, LANE)]));
    let outcome = Ok(Claim { owner_epoch: 1, offset: 0 });
    step(&mut core, 0, Input::Claimed { partition: PARTITION, generation: Generation(1), outcome });
    step(&mut core, 1, gathered(10));
    assert!(!core.is_holding());
    assert_eq!(step(&mut core, 2, gathered(20)), []);
    assert!(core.is_holding());
    core
}

fn written(batch: u64) -> Input {
    Input::Written { lane: LANE, batch, outcome: Ok(()) }
}

#[test]
fn a_batch_that_lands_soon_ends_the_hold_without_a_pause() {
    let mut core = full();
    let actions = step(&mut core, 40, written(1));
    assert!(!core.is_holding());
    assert!(actions.iter().any(|action| matches!(action, Action::Seal { .. })), "{actions:?}");
    let paused = |action: &Action| matches!(action, Action::Pause(_) | Action::Resume(_));
    assert!(!actions.iter().any(paused), "{actions:?}");
}

#[test]
fn a_hold_that_lasts_becomes_a_pause_that_ends_with_the_batch() {
    let mut core = full();
    assert_eq!(step(&mut core, 51, Input::Woke), []);
    assert_eq!(core.next_wake(), Some(Tick(52)));
    assert_eq!(step(&mut core, 52, Input::Woke), [Action::Pause(vec![PARTITION])]);
    assert!(!core.is_holding());
    let actions = step(&mut core, 60, written(1));
    assert!(actions.contains(&Action::Resume(vec![PARTITION])), "{actions:?}");
}

#[test]
fn a_lane_that_may_starve_shortens_the_hold() {
    let mut core = full();
    let (other, its_partition) = (LaneId(1), PartitionId(1));
    step(&mut core, 3, Input::Assigned(vec![(its_partition, other)]));
    assert_eq!(core.next_wake(), Some(Tick(2 + 50 / 4)));
}

#[test]
fn a_lane_that_stops_while_it_holds_lets_the_others_go_on() {
    let mut core = full();
    let fault = crate::fault::Fault::blocked(crate::fault::Code::TableMissing, "gone", "make it");
    step(&mut core, 10, Input::LaneFailed { lane: LANE, fault });
    assert!(!core.is_holding());
}
