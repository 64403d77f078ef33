//! Which Silver table a record of a many-table topic belongs to: found by what its source tells, and nothing allocated once
//! it is known.

use super::facts::{Fact, Facts};
use super::identity::Identity;
use super::slot::Scratch;
use super::sources::Sources;
use crate::fault::Fault;
use crate::route::Template;
use crate::table::TableName;
use std::cmp::Ordering;

/// The number of a record's table while it is not known.
pub const UNPLACED: usize = 0;

/// The tables of one topic.
#[derive(Debug)]
pub(super) struct Places {
    template: Template,
    /// What sources told, sorted, and the place in `tables`.
    known: Vec<([Box<str>; 3], usize)>,
    /// Index into `known` of the last one.
    last: usize,
    tables: Vec<Placed>,
}

/// What the decoder keeps for one table.
#[derive(Debug)]
pub(super) struct Placed {
    /// By which the decoder's owner knows it, from 1.
    pub number: usize,
    name: TableName,
    pub sources: Sources,
    pub identity: Identity,
    /// Index of the plan that its last record used.
    pub last_plan: usize,
}

/// Where a record belongs.
#[derive(Debug)]
pub(super) enum Place {
    /// To this one of [`Places::at`].
    Known(usize),
    /// To a table that has no number yet.
    New(TableName),
}

impl Places {
    pub fn new(template: Template) -> Self {
        Self { template, known: Vec::new(), last: 0, tables: Vec::new() }
    }

    /// Gives a table its number.
    pub fn add(&mut self, name: TableName, number: usize, shared: bool) {
        if self.tables.iter().all(|table| table.number != number) {
            let sources = Sources::new(shared);
            let identity = Identity::default();
            self.tables.push(Placed { number, name, sources, identity, last_plan: 0 });
        }
    }

    pub fn at(&mut self, at: usize) -> Option<&mut Placed> {
        self.tables.get_mut(at)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Finds the table that a record's facts name.
    ///
    /// # Errors
    /// `TableUnplaced`, as [`Template::table`] says.
    pub fn find(&mut self, facts: &Facts<'_>, scratch: &Scratch) -> Result<Place, Fault> {
        let part = |fact| facts.text(fact, scratch).map(Option::unwrap_or_default);
        let told = [part(Fact::Database)?, part(Fact::Schema)?, part(Fact::Table)?];
        let order = |known: &([Box<str>; 3], usize)| -> Ordering {
            let mut parts = known.0.iter().zip(told).rev();
            parts
                .find_map(|(a, b)| Some((**a).cmp(b)).filter(|o| o.is_ne()))
                .unwrap_or(Ordering::Equal)
        };
        if let Some(last) = self.known.get(self.last).filter(|last| order(last).is_eq()) {
            return Ok(Place::Known(last.1));
        }
        match self.known.binary_search_by(order) {
            Ok(at) => {
                self.last = at;
                Ok(self
                    .known
                    .get(at)
                    .map_or(Place::Known(usize::MAX), |known| Place::Known(known.1)))
            }
            Err(at) => {
                let name = self.template.table(told)?;
                let Some(table) = self.tables.iter().position(|table| table.name == name) else {
                    return Ok(Place::New(name));
                };
                self.known.insert(at, (told.map(Into::into), table));
                self.last = at;
                Ok(Place::Known(table))
            }
        }
    }
}
