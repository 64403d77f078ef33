//! Copies of schemas on disk: one file per id, written whole or not at all, and believed only when its checksum fits.

use crate::config;
use crate::decode::RegistryId;
use crate::fault::{Class, Code, Fault};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What a file starts with; behind it id and checksum.
const MAGIC: &str = "silversink-schema-1";

/// The directory of one registry's schemas. Holds schema texts and nothing else: no URL, no credentials.
#[derive(Clone)]
pub(super) struct Copies {
    directory: PathBuf,
}

/// What stands in the directory for an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// Nothing.
    Missing,
    /// A whole copy.
    Schema(String),
    /// Something that was not written here, or was damaged.
    Damaged,
}

impl Copies {
    /// Makes the directory. Ids mean something in one registry only, so each has a directory of its own below
    /// `[registry] cache_dir`, named by a hash of its URL.
    ///
    /// # Errors
    /// Fatal `configuration` when the directory cannot be made.
    pub(super) fn open(directory: &Path, registry: &config::Registry) -> Result<Self, Fault> {
        let name: String = hex(registry.url.as_bytes()).chars().take(16).collect();
        let directory = directory.join(name);
        std::fs::create_dir_all(&directory).map_err(|e| {
            Fault::new(
                Class::Fatal,
                Code::Configuration,
                format!("could not make [registry] cache_dir {}: {e}", directory.display()),
            )
        })?;
        Ok(Self { directory })
    }

    fn path(&self, id: RegistryId) -> PathBuf {
        self.directory.join(format!("{id}.avsc"))
    }

    /// Reads a copy.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub(super) fn read(&self, id: RegistryId) -> io::Result<Copy> {
        match std::fs::read(self.path(id)) {
            Ok(bytes) => Ok(checked(id, &bytes).map_or(Copy::Damaged, Copy::Schema)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Copy::Missing),
            Err(e) => Err(e),
        }
    }

    /// Writes a copy: into a file of another name, to the disk, then renamed.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub(super) fn write(&self, id: RegistryId, text: &str) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        writeln!(file, "{}", head(id, text))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(self.path(id)).map_err(|e| e.error)?;
        Ok(())
    }
}

/// First line of the file: the id is part of it, so that a file under another name is not believed.
fn head(id: RegistryId, text: &str) -> String {
    format!("{MAGIC} {id} {}", hex(format!("{id}\n{text}").as_bytes()))
}

fn checked(id: RegistryId, bytes: &[u8]) -> Option<String> {
    let (first, text) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    (first == head(id, text)).then(|| text.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RegistryId = RegistryId::Confluent(7);

    fn registry(url: &str) -> config::Registry {
        config::Registry { url: url.to_owned(), ..config::Registry::default() }
    }

    #[test]
    fn a_copy_comes_back_under_its_own_id_and_registry_alone() {
        let directory = tempfile::tempdir().unwrap();
        let copies = Copies::open(directory.path(), &registry("http://a")).unwrap();
        assert_eq!(copies.read(ID).unwrap(), Copy::Missing);
        copies.write(ID, "\"long\"").unwrap();
        copies.write(ID, "\"int\"\n").unwrap();
        assert_eq!(copies.read(ID).unwrap(), Copy::Schema("\"int\"\n".to_owned()));
        for other in [RegistryId::ContentId(7), RegistryId::GlobalId(7), RegistryId::Confluent(8)] {
            assert_eq!(copies.read(other).unwrap(), Copy::Missing);
        }
        let elsewhere = Copies::open(directory.path(), &registry("http://b")).unwrap();
        assert_eq!(elsewhere.read(ID).unwrap(), Copy::Missing);
        assert_eq!(
            std::fs::read_dir(&copies.directory).unwrap().count(),
            1,
            "no other file is left behind"
        );
    }

    #[test]
    fn a_damaged_copy_is_not_believed() {
        let directory = tempfile::tempdir().unwrap();
        let copies = Copies::open(directory.path(), &registry("http://a")).unwrap();
        copies.write(ID, "\"long\"").unwrap();
        let whole = std::fs::read(copies.path(ID)).unwrap();
        for end in 0..whole.len() {
            std::fs::write(copies.path(ID), &whole[..end]).unwrap();
            assert_eq!(copies.read(ID).unwrap(), Copy::Damaged, "{end} of {} bytes", whole.len());
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(copies.path(ID), &bytes).unwrap();
            assert_eq!(copies.read(ID).unwrap(), Copy::Damaged, "byte {at}");
        }
        let other = RegistryId::Confluent(8);
        std::fs::write(copies.path(other), &whole).unwrap();
        assert_eq!(copies.read(other).unwrap(), Copy::Damaged, "copied to another id");
    }
}
