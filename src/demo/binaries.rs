//! Finds the machine's PostgreSQL server binaries and the account that may run them.

use crate::fault::{Class, Code, Fault};
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest supported server: MERGE came with 15.
pub const OLDEST: u32 = 15;

/// A directory with `initdb`, `pg_ctl`, `postgres`, `psql` and `createdb`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    directory: PathBuf,
    /// Major version.
    pub version: u32,
}

impl Binaries {
    /// Looks in `explicit`, else in `$PG_BIN` (either of these decides alone), else where `pg_config --bindir` says, in
    /// Debian's `/usr/lib/postgresql/*/bin` (highest version first), and in PATH.
    ///
    /// # Errors
    /// Fatal when there is no server of version 15 or newer; the hint says what to install.
    pub fn find(explicit: Option<&Path>) -> Result<Self, Fault> {
        let variable = std::env::var_os("PG_BIN").filter(|value| !value.is_empty());
        if let Some(directory) = explicit.map(Path::to_owned).or(variable.map(PathBuf::from)) {
            return Self::at(&directory, ask_server).map_err(|why| missing(&why));
        }
        let places = places(Path::new("/usr/lib/postgresql"), std::env::var_os("PATH"));
        Self::first(places, ask_server)
    }

    /// One of the programs.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    fn first(places: Vec<PathBuf>, ask: Ask) -> Result<Self, Fault> {
        let mut reasons = Vec::new();
        for place in places {
            match Self::at(&place, ask) {
                Ok(binaries) => return Ok(binaries),
                Err(why) => reasons.push(why),
            }
        }
        // A server that is there but too old is worth telling; a directory without one is not.
        let too_old = reasons.into_iter().find(|reason| reason.contains("is version"));
        Err(missing(&too_old.unwrap_or_else(|| "no PostgreSQL server on this machine".to_owned())))
    }

    fn at(directory: &Path, ask: Ask) -> Result<Self, String> {
        let shown = directory.display();
        for program in ["initdb", "pg_ctl", "postgres", "psql", "createdb"] {
            if !directory.join(program).exists() {
                return Err(format!("{shown} holds no {program}"));
            }
        }
        match ask(&directory.join("postgres")).as_deref().and_then(major) {
            Some(version) if version >= OLDEST => {
                Ok(Self { directory: directory.to_owned(), version })
            }
            Some(version) => Err(format!("the PostgreSQL server in {shown} is version {version}")),
            None => Err(format!("{shown}/postgres does not tell its version")),
        }
    }
}

/// Asks a server program for its version line.
type Ask = fn(&Path) -> Option<String>;

fn ask_server(program: &Path) -> Option<String> {
    said(&mut Command::new(program), "--version")
}

fn missing(why: &str) -> Fault {
    let text =
        format!("{why}; a throw-away PostgreSQL needs a server of version {OLDEST} or newer");
    Fault::new(Class::Fatal, Code::Configuration, text).with_hint(
        "install one (Debian, Ubuntu: apt-get install postgresql), name its directory with --pg-bin, \
         or use a server that runs already with --postgres-url",
    )
}

/// Every place to look, best first.
fn places(debian: &Path, path: Option<OsString>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(directory) = said(&mut Command::new("pg_config"), "--bindir") {
        places.push(PathBuf::from(directory.trim()));
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir(debian)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    places.extend(versions.into_iter().map(|(_, directory)| directory));
    places.extend(path.iter().flat_map(std::env::split_paths));
    places
}

/// What a program prints for one argument; `None` when it cannot be run or fails.
fn said(command: &mut Command, argument: &str) -> Option<String> {
    let output = command.arg(argument).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The major version in `postgres (PostgreSQL) 15.16 (Debian ...)`, `16beta1` included.
fn major(said: &str) -> Option<u32> {
    let version = said.split("PostgreSQL)").nth(1)?.trim_start();
    let digits = version.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

/// The unprivileged account that a server runs under when we are root, which PostgreSQL refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account `postgres`, else `nobody`, when `ours` (a file that we made) belongs to root; `None` otherwise.
    ///
    /// # Errors
    /// Fatal when we are root and neither account exists.
    pub fn for_server(ours: &Path) -> Result<Option<Self>, Fault> {
        let owner = std::fs::metadata(ours).map_err(|e| unusable(&e.to_string()))?.uid();
        if owner != 0 {
            return Ok(None);
        }
        let accounts =
            std::fs::read_to_string("/etc/passwd").map_err(|e| unusable(&e.to_string()))?;
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::named(&accounts, name));
        found.map(Some).ok_or_else(|| unusable("there is neither an account postgres nor nobody"))
    }

    fn named(accounts: &str, name: &str) -> Option<Self> {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some(Self { uid: numbers.next()?.ok()?, gid: numbers.next()?.ok()? })
    }

    /// Gives a file or directory to the account.
    ///
    /// # Errors
    /// Fatal when the system refuses.
    pub fn give(&self, path: &Path) -> Result<(), Fault> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(|e| unusable(&e.to_string()))
    }

    /// Makes a command run as the account.
    pub fn apply(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

fn unusable(why: &str) -> Fault {
    let text = format!("choosing an account for the throw-away PostgreSQL: {why}");
    Fault::new(Class::Fatal, Code::Configuration, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Programs that hold their version line instead of printing it: a file that was just written may not be run
    /// while another test's child still holds it open.
    fn fake(directory: &Path, version: &str) {
        std::fs::create_dir_all(directory).unwrap();
        for program in ["initdb", "pg_ctl", "postgres", "psql", "createdb"] {
            std::fs::write(directory.join(program), format!("postgres (PostgreSQL) {version}\n"))
                .unwrap();
        }
    }

    fn ask_fake(program: &Path) -> Option<String> {
        std::fs::read_to_string(program).ok()
    }

    #[test]
    fn versions_are_read_in_every_spelling() {
        assert_eq!(major("postgres (PostgreSQL) 15.16 (Debian 15.16-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 19beta2"), Some(19));
        assert_eq!(major("postgres (PostgreSQL) "), None);
        assert_eq!(major("mysqld 8"), None);
    }

    #[test]
    fn the_highest_version_of_debian_s_directory_comes_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "17", "notes"] {
            fake(&root.path().join(version).join("bin"), &format!("{version}.1"));
        }
        let places = places(root.path(), None);
        let tail: Vec<_> = places.iter().filter(|p| p.starts_with(root.path())).collect();
        let expected = ["17", "15", "9"].map(|version| root.path().join(version).join("bin"));
        assert_eq!(tail, expected.iter().collect::<Vec<_>>());
    }

    #[test]
    fn a_server_that_is_too_old_is_passed_over_and_told() {
        let root = tempfile::tempdir().unwrap();
        let (old, new) = (root.path().join("14"), root.path().join("16"));
        fake(&old, "14.9");
        let fault =
            Binaries::first(vec![root.path().to_owned(), old.clone()], ask_fake).unwrap_err();
        assert!(fault.text.contains("is version 14; a throw-away"), "{fault}");
        fake(&new, "16.2");
        assert_eq!(Binaries::first(vec![old, new], ask_fake).unwrap().version, 16);
    }

    #[test]
    fn no_server_at_all_gives_one_line_that_helps() {
        let fault = Binaries::first(Vec::new(), ask_fake).unwrap_err();
        assert!(fault.text.starts_with("no PostgreSQL server on this machine"), "{fault}");
        let hint = fault.hint.unwrap();
        assert!(hint.contains("apt-get install postgresql") && hint.contains("--postgres-url"));
        assert!(!hint.contains('\n'));
    }

    #[test]
    fn an_explicit_directory_decides_alone() {
        let root = tempfile::tempdir().unwrap();
        let fault = Binaries::find(Some(root.path())).unwrap_err();
        assert!(fault.text.contains("holds no initdb"), "{fault}");
    }

    #[test]
    fn accounts_are_read_from_the_password_file() {
        let accounts =
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\nbad:x:y:1\n";
        let nobody = Some(Account { uid: 65534, gid: 65533 });
        assert_eq!(Account::named(accounts, "nobody"), nobody);
        assert_eq!(Account::named(accounts, "postgres"), None);
        assert_eq!(Account::named(accounts, "bad"), None);
    }
}
