//! How the source's values look after a connector and PostgreSQL's types, where that is not the source's own text.

use silversink::demo::capture::{TableTruth, TextRow};

/// The encoding that the truth is compared with.
#[derive(Clone, Debug)]
pub struct Told {
    pub scenario: String,
    pub encoding: String,
}

impl Told {
    /// Rewrites the truth's rows and keys. Only what is the same value in another text, and what
    /// `bigint.unsigned.handling.mode=long` makes of an unsigned number; what is lost is listed instead (`untold/`).
    pub fn rewrite(&self, truth: &mut TableTruth) {
        if self.scenario != "mariadb" {
            return;
        }
        let wraps = !self.encoding.starts_with("precise");
        let table = truth.name.clone();
        let keys = truth.deleted.iter_mut().map(|gone| &mut gone.key);
        for row in truth.rows.iter_mut().chain(keys) {
            mariadb(&table, row, wraps);
        }
    }
}

fn mariadb(table: &str, row: &mut TextRow, wraps: bool) {
    for (column, value) in row {
        let Some(text) = value.as_mut() else { continue };
        match (table, column.as_str()) {
            // `timestamp` is an instant: timestamptz, printed with its zone.
            ("customers", "updated") | ("orders", "paid") => {
                trim(text);
                text.push_str("+00");
            }
            ("orders", "spot") => {
                *text = text.replace("POINT", "").replace(' ', ",");
            }
            // A set is an array.
            ("customers", "flags") => *text = format!("{{{text}}}"),
            // tinyint(1) is a boolean.
            ("orders", "flag") => *text = (text != "0").to_string(),
            ("orders", "bits") => *text = format!("{text:0>10}"),
            ("orders", "ratio") if !text.contains("e-") => *text = text.replace('e', "e+"),
            ("orders", "pickup") | ("customers", "created") => trim(text),
            ("orders", "id" | "big") | ("order_lines", "order_id") if wraps => {
                if let Ok(unsigned) = text.parse::<u64>() {
                    *text = unsigned.cast_signed().to_string();
                }
            }
            _ => {}
        }
    }
}

/// PostgreSQL prints no zeros at the end of a second's fraction.
fn trim(text: &mut String) {
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
}
