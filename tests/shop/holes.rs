//! Above a record that was parked, Silver's row is older than what a placeholder stands for (I9), until a whole row comes.

use crate::faults::parked;
use crate::logs;
use crate::rig::Rig;
use silversink::kafka::{TopicPartition, move_group};
use silversink::record::{Coordinates, OwnedRecord};

const TOPIC: &str = "shop.public.products";
const UNCHANGED: &str = "__debezium_unavailable_value";
const ROW: &str = "SELECT name || ' ' || category FROM silver.products WHERE id = 999999";
const HOLES: &str = "SELECT count(*) FROM silversink.hole";

/// Changes of one product, one after the other in partition 0.
struct Story {
    template: OwnedRecord,
    next: i64,
}

impl Story {
    fn new() -> Self {
        let records = logs::JSON_PLAIN.records();
        let template = records.into_iter().find(|record| record.at.topic == TOPIC).unwrap();
        Self { template, next: 0 }
    }

    fn change(&mut self, op: &str, name: &str, category: &str) -> OwnedRecord {
        let bytes = self.template.value.as_deref().unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        (value["op"], value["after"]["id"]) = (op.into(), 999_999.into());
        (value["after"]["name"], value["after"]["category"]) = (name.into(), category.into());
        let position = 999_999_999_999_000 + self.next;
        value["source"]["sequence"] = format!("[\"{position}\",\"{position}\"]").into();
        let mut record = self.template.clone();
        record.at.offset = self.next;
        record.key = Some(br#"{"id":999999}"#.to_vec());
        record.value = Some(value.to_string().into_bytes());
        self.next += 1;
        record
    }

    /// Its value cannot be read, and with it its position.
    fn broken(&mut self) -> OwnedRecord {
        OwnedRecord { value: Some(b"{\"cut".to_vec()), ..self.change("u", "new", "kitchen") }
    }
}

fn ends(records: &[(&OwnedRecord, &str)]) -> Vec<(Coordinates, String)> {
    records.iter().map(|(record, code)| (record.at.clone(), (*code).to_owned())).collect()
}

/// In one batch a whole row may make good a dead letter that PostgreSQL has not refused yet.
async fn rig(story: &[OwnedRecord], batch_rows: usize) -> Rig {
    let mut rig = Rig::start(logs::JSON_PLAIN, 1, story).await;
    rig.extra = format!("[table.\"silver.products\"]\nbatch_rows = {batch_rows}\n");
    rig.execute("ALTER TABLE silver.products ADD CHECK (category <> '')").await;
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_above_a_dead_letter_is_no_base_until_it_comes_whole_again() {
    // Refused by PostgreSQL, or never read: with it goes the only copy of the name.
    let refused = |story: &mut Story| (story.change("u", "new", ""), "constraint_violation", 1);
    let unread = |story: &mut Story| (story.broken(), "undecodable", 1);
    let in_one_batch = |story: &mut Story| (story.broken(), "undecodable", 100);
    let letters: [&dyn Fn(&mut Story) -> (OwnedRecord, &'static str, usize); 3] =
        [&refused, &unread, &in_one_batch];
    for letter in letters {
        let mut changes = Story::new();
        let first = changes.change("c", "old", "kitchen");
        let (parked_first, code, batch_rows) = letter(&mut changes);
        let story = [
            first,
            parked_first,
            changes.change("u", UNCHANGED, "garden"),
            changes.change("u", UNCHANGED, "garden"),
            changes.change("u", "newest", "garden"),
            changes.change("u", UNCHANGED, "office"),
        ];
        let baseless = "unchanged_without_base";
        let expected = ends(&[(&story[1], code), (&story[2], baseless), (&story[3], baseless)]);
        for cut in [1, 2, 3, 4, 6] {
            // A worker that starts in between learns of the hole from the destination.
            let rig = rig(&story[..cut], batch_rows).await;
            rig.run().await.unwrap();
            rig.produce_more(&story[cut..]);
            rig.run().await.unwrap();
            assert_eq!(rig.ask(ROW).await, "newest office", "{code}, {cut}");
            assert_eq!(parked(&rig).await, expected, "{code}, {cut}");
            assert_eq!(rig.ask(HOLES).await, "0", "{code}, {cut}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_finds_the_hole_of_an_unread_record_where_it_was() {
    let mut changes = Story::new();
    let story = [
        changes.change("c", "old", "kitchen"),
        changes.change("u", UNCHANGED, "garden"),
        changes.broken(),
        changes.change("u", UNCHANGED, "office"),
    ];
    let expected = ends(&[(&story[2], "undecodable"), (&story[3], "unchanged_without_base")]);
    for batch_rows in [1, 100] {
        let rig = rig(&story, batch_rows).await;
        rig.run().await.unwrap();
        let all =
            "SELECT string_agg(encode(version, 'hex'), ' ' ORDER BY version) FROM silversink.hole";
        let (tuples, hole) = (rig.tuples().await, rig.ask(all).await);

        // What the row was built on before the letter is no base for what comes after it, but stays one for what it was.
        for from in 0..4 {
            move_group(&rig.kafka("shop"), &[(TopicPartition::new(TOPIC, 0), from)]).unwrap();
            rig.run().await.unwrap();
            assert_eq!(rig.ask(ROW).await, "old garden", "{batch_rows}, {from}");
            assert_eq!(parked(&rig).await, expected, "{batch_rows}, {from}");
            assert_eq!(rig.tuples().await, tuples, "{batch_rows}, {from}");
            assert_eq!(rig.ask(all).await, hole, "{batch_rows}, {from}");
        }
    }
}
