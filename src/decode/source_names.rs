//! The names of the sources that a topic's records come from, as small numbers: nothing is allocated per record.

/// Names that are remembered before everything is forgotten: a topic has one or two.
const MAX_NAMES: usize = 256;

/// The names by number. A number holds until the next one is asked for.
#[derive(Debug)]
pub(super) struct SourceNames {
    names: Vec<Box<str>>,
    last: usize,
}

impl Default for SourceNames {
    fn default() -> Self {
        Self { names: vec!["".into()], last: 0 }
    }
}

impl SourceNames {
    /// The source that has no name.
    pub const UNKNOWN: u16 = 0;

    /// The number of a name.
    pub fn number(&mut self, name: &str) -> u16 {
        if self.names.get(self.last).is_none_or(|last| **last != *name) {
            self.last = self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
                self.names.truncate(if self.names.len() < MAX_NAMES { MAX_NAMES } else { 1 });
                self.names.push(name.into());
                self.names.len() - 1
            });
        }
        u16::try_from(self.last).unwrap_or(Self::UNKNOWN)
    }

    /// The name of a number.
    pub fn name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or("", |name| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_the_list_its_bound() {
        let mut sources = SourceNames::default();
        let shop = sources.number("shop");
        assert_eq!(sources.name(shop), "shop");
        assert_eq!(sources.number(""), SourceNames::UNKNOWN);
        assert_eq!(sources.number("shop"), shop);
        for n in 0..10 * MAX_NAMES {
            let name = n.to_string();
            let number = sources.number(&name);
            assert_eq!(sources.name(number), name);
            assert!(sources.names.len() <= MAX_NAMES);
        }
    }
}
