//! Dead letters: what waits for an acknowledgement, and when there are too many (I8).

use super::lane::Stage;
use super::step::Core;
use super::{Action, LaneId};
use crate::fault::{Class, Code, Fault};

const MINUTE_MS: u64 = 60_000;

impl Core {
    pub(super) fn letter_sent(&mut self, id: LaneId) {
        let now = self.now;
        let limit = self.settings.letters_per_minute;
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        lane.open_letters += 1;
        if now >= lane.letters.0.plus_ms(MINUTE_MS) {
            lane.letters = (now, 0);
        }
        lane.letters.1 += 1;
        if lane.letters.1 > limit {
            let text = format!("more than {limit} dead letters within a minute");
            let hint = "look at the dead letters by cause: something upstream or the Silver table changed; then restart, or raise [dlq] max_per_minute";
            self.fail_lane(id, Fault::blocked(Code::DeadLetterFlood, text, hint));
        }
    }

    pub(super) fn letter_acknowledged(&mut self, id: LaneId, batch: u64) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        if batch == lane.next_batch {
            lane.open_letters = lane.open_letters.saturating_sub(1);
            return;
        }
        let Some(sealed) = lane.sealed.as_mut().filter(|sealed| sealed.number == batch) else {
            return;
        };
        sealed.letters = sealed.letters.saturating_sub(1);
        if sealed.letters == 0 && sealed.stage == Stage::Letters {
            sealed.stage = Stage::Writing;
            self.recovered(id);
            self.out.push(Action::Write { lane: id, batch });
        }
    }

    pub(super) fn letters_failed(&mut self, id: LaneId, fault: Fault) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let awaited = lane.open_letters + lane.sealed.as_ref().map_or(0, |sealed| sealed.letters);
        if awaited == 0 || lane.resend_at.is_some() {
            return;
        }
        if fault.class == Class::Fatal {
            return self.exit(Err(fault));
        }
        lane.attempt += 1;
        let attempt = lane.attempt;
        let at = self.backoff(attempt);
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.resend_at = Some(at);
        }
        self.out.push(Action::Waiting { lane: Some(id), fault, attempt });
    }
}
