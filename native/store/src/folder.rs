//! The drive's folder: what makes it one, whose it is, who has it open.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::core::SEGMENTS_DIR;
use crate::format::FORMAT_VERSION;
use crate::format::identity::{IDENTITY_FILE, Identity, hex};
use crate::limits::{MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, PAGE_BYTES};
use crate::types::{OpenOptions, Probe, Result, StoreError};

const LOCK_FILE: &str = "lock";

/// Holds the folder's lock until it is dropped.
pub struct Lock(#[allow(dead_code, reason = "the lock lives as long as the open file")] File);

pub fn probe(path: &Path) -> Result<Probe> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Probe::Missing),
        Err(error) => return Err(error.into()),
        Ok(metadata) if !metadata.is_dir() => {
            return Ok(Probe::Foreign {
                found: "not a folder".into(),
            });
        }
        Ok(_) => {}
    }
    match fs::read(path.join(IDENTITY_FILE)) {
        Ok(text) => Ok(Identity::from_json(&text).map_or_else(
            || Probe::Foreign {
                found: format!("{IDENTITY_FILE}, which cannot be read"),
            },
            |identity| Probe::Drive {
                drive: identity.drive,
                deployment: identity.deployment,
                format_version: identity.format_version,
            },
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            for entry in fs::read_dir(path)? {
                let name = entry?.file_name();
                let unused =
                    name == SEGMENTS_DIR && fs::read_dir(path.join(&name))?.next().is_none();
                if !unused && !is_ours_or_nothing(&name.to_string_lossy()) {
                    return Ok(Probe::Foreign {
                        found: name.to_string_lossy().into_owned(),
                    });
                }
            }
            Ok(Probe::Empty)
        }
        Err(error) => Err(error.into()),
    }
}

/// What an empty file system has, and what a creation leaves that did not come to its end.
fn is_ours_or_nothing(name: &str) -> bool {
    name == "lost+found" || name == LOCK_FILE || name == format!("{IDENTITY_FILE}.new")
}

pub fn create(path: &Path, deployment: [u8; 16], drive: [u8; 16]) -> Result<()> {
    match probe(path)? {
        Probe::Missing => fs::create_dir_all(path)?,
        Probe::Empty => {}
        Probe::Drive { drive, .. } => {
            return Err(StoreError::Mismatch(format!(
                "drive {} lies there already",
                hex(&drive)
            )));
        }
        Probe::Foreign { found } => {
            return Err(StoreError::Mismatch(format!(
                "the folder is not empty: {found}"
            )));
        }
    }
    let _lock = take_lock(path)?;
    match fs::create_dir(path.join(SEGMENTS_DIR)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    // The identity comes last: with it the folder is a drive.
    let unfinished = path.join(format!("{IDENTITY_FILE}.new"));
    let mut file = File::create(&unfinished)?;
    file.write_all(Identity::new(deployment, drive).to_json().as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path.join(IDENTITY_FILE))?;
    File::open(path)?.sync_all()?;
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Locks the drive at `options.path`, if it is the one that must lie there.
pub fn lock(options: &OpenOptions) -> Result<(Identity, Lock)> {
    let there = |found: Probe| match found {
        Probe::Missing => Err(StoreError::Mismatch("no such folder".into())),
        Probe::Empty => Err(StoreError::Mismatch("an empty folder, no drive".into())),
        Probe::Foreign { found } => Err(StoreError::Mismatch(format!("no drive, but {found}"))),
        Probe::Drive {
            drive,
            deployment,
            format_version,
        } => Ok(Identity {
            format_version,
            deployment,
            drive,
        }),
    };
    let identity = there(probe(&options.path)?)?;
    if identity.format_version != FORMAT_VERSION {
        let version = identity.format_version;
        return Err(StoreError::Mismatch(format!(
            "format version {version}; this program knows {FORMAT_VERSION}"
        )));
    }
    if identity.deployment != options.deployment {
        return Err(StoreError::Mismatch(format!(
            "a drive of deployment {}",
            hex(&identity.deployment)
        )));
    }
    if options.drive.is_some_and(|drive| drive != identity.drive) {
        return Err(StoreError::Mismatch(format!(
            "drive {}",
            hex(&identity.drive)
        )));
    }
    let lock = take_lock(&options.path)?;
    Ok((identity, lock))
}

fn take_lock(path: &Path) -> Result<Lock> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path.join(LOCK_FILE))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

pub fn segment_bytes(options: &OpenOptions) -> Result<u64> {
    let bytes = options.segment_bytes;
    if (MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&bytes) && bytes.is_multiple_of(PAGE_BYTES)
    {
        Ok(bytes)
    } else {
        Err(StoreError::Invalid(format!("segments of {bytes} bytes")))
    }
}
