//! Drives: opening, numbers, marks, listing, removal, scrubbing, compaction.

use std::path::PathBuf;

use anvil_engine::Error;
use anvil_engine::id::{hex, parse};
use anvil_store::{DriveState, OpenOptions, Probe, StoreError};
use napi::Env;
use napi::bindgen_prelude::{Either, Null, PromiseRaw};
use napi_derive::napi;

use crate::convert::{ShardName, size};
use crate::guard::{self, Fallible};
use crate::process::engine;

#[napi(object)]
pub struct DriveOpen {
    pub path: String,
    pub deployment_id: String,
    pub drive_id: Either<String, Null>,
    pub reserve_bytes: f64,
}

#[napi(object)]
pub struct DriveInfo {
    pub drive_id: String,
    pub path: String,
    pub format_version: u32,
    pub io: String,
    pub recovered_records: f64,
    pub recovery_ms: f64,
}

/// One shape for all states; fields that a state does not have are not there.
#[napi(object)]
pub struct DriveProbe {
    pub state: String,
    pub found: Option<String>,
    pub drive_id: Option<String>,
    pub deployment_id: Option<String>,
    pub format_version: Option<u32>,
}

#[napi(object)]
pub struct DriveStats {
    pub drive_id: String,
    pub path: String,
    #[napi(ts_type = "'online' | 'full' | 'failed'")]
    pub state: String,
    pub reason: String,
    pub total_bytes: f64,
    pub free_bytes: f64,
    pub live_bytes: f64,
    pub dead_bytes: f64,
    pub shards: f64,
    pub writes: f64,
    pub written_bytes: f64,
    pub reads: f64,
    pub read_bytes: f64,
    pub fsyncs: f64,
    pub fsync_p50_ms: f64,
    pub fsync_p99_ms: f64,
    pub io_errors: f64,
    pub crc_errors: f64,
    pub queue_depth: f64,
}

#[napi(object)]
pub struct ShardRecord {
    pub bucket_id: f64,
    pub blob_id: String,
    pub pg_id: f64,
    pub index: u32,
    pub bytes: f64,
    pub written_ms: f64,
    pub sealed: bool,
}

#[napi(object)]
pub struct ShardPage {
    pub shards: Vec<ShardRecord>,
    pub cursor: Either<String, Null>,
}

#[napi(object)]
pub struct ScrubStep {
    pub bytes: f64,
    pub shards: f64,
    pub damaged: Vec<ShardName>,
    pub cursor: Either<String, Null>,
}

#[napi(object)]
pub struct CompactStep {
    pub moved_bytes: f64,
    pub freed_bytes: f64,
    pub more: bool,
}

/// What lies at a path, without locking or changing it.
#[napi(ts_return_type = "Promise<import('../../src/shared/native.ts').DriveProbe>")]
pub fn probe_drive<'env>(
    env: &'env Env,
    path: String,
) -> napi::Result<PromiseRaw<'env, DriveProbe>> {
    guard::later(
        env,
        async move { engine()?.probe_drive(PathBuf::from(path)).await },
        |probe| {
            let state = |state: &str| DriveProbe {
                state: state.to_owned(),
                found: None,
                drive_id: None,
                deployment_id: None,
                format_version: None,
            };
            match probe {
                Probe::Missing => state("missing"),
                Probe::Empty => state("empty"),
                Probe::Foreign { found } => DriveProbe {
                    found: Some(found),
                    ..state("foreign")
                },
                Probe::Drive {
                    drive,
                    deployment,
                    format_version,
                } => DriveProbe {
                    drive_id: Some(hex(&drive)),
                    deployment_id: Some(hex(&deployment)),
                    format_version: Some(format_version),
                    ..state("drive")
                },
            }
        },
    )
}

#[napi]
pub fn create_drive<'env>(
    env: &'env Env,
    path: String,
    deployment_id: String,
    drive_id: String,
) -> napi::Result<PromiseRaw<'env, ()>> {
    let creating = async move {
        let (deployment, drive) = (
            parse("deploymentId", &deployment_id)?,
            parse("driveId", &drive_id)?,
        );
        engine()?
            .create_drive(PathBuf::from(path), deployment, drive)
            .await
    };
    guard::later(env, creating, |()| ())
}

#[napi]
pub fn open_drive<'env>(
    env: &'env Env,
    options: DriveOpen,
) -> napi::Result<PromiseRaw<'env, DriveInfo>> {
    let path = options.path.clone();
    let options = open_options(&options);
    let opening = async move { engine()?.open_drive(options?).await };
    guard::later(env, opening, |report| DriveInfo {
        drive_id: hex(&report.drive),
        path,
        format_version: report.format_version,
        io: report.io.to_owned(),
        recovered_records: report.recovered_records as f64,
        recovery_ms: report.recovery_ms as f64,
    })
}

fn open_options(options: &DriveOpen) -> Fallible<OpenOptions> {
    let mut open = OpenOptions::new(
        &options.path,
        parse("deploymentId", &options.deployment_id)?,
    );
    open.drive = match &options.drive_id {
        Either::A(id) => Some(parse("driveId", id)?),
        Either::B(Null) => None,
    };
    open.reserve_bytes = size("reserveBytes", options.reserve_bytes)?;
    Ok(open)
}

#[napi]
pub fn close_drive<'env>(env: &'env Env, drive_id: String) -> napi::Result<PromiseRaw<'env, ()>> {
    let closing = async move {
        engine()?.close_drive(parse("driveId", &drive_id)?).await;
        Ok(())
    };
    guard::later(env, closing, |()| ())
}

#[napi]
pub fn drive_stats() -> napi::Result<Vec<DriveStats>> {
    guard::now(|| {
        let drives = engine()?.drive_stats();
        Ok(drives
            .into_iter()
            .map(|(path, stats)| DriveStats {
                drive_id: hex(&stats.drive),
                path: path.to_string_lossy().into_owned(),
                state: match stats.state {
                    DriveState::Online => "online",
                    DriveState::Full => "full",
                    DriveState::Failed => "failed",
                }
                .to_owned(),
                reason: stats.reason,
                total_bytes: stats.total_bytes as f64,
                free_bytes: stats.free_bytes as f64,
                live_bytes: stats.live_bytes as f64,
                dead_bytes: stats.dead_bytes as f64,
                shards: stats.shards as f64,
                writes: stats.writes as f64,
                written_bytes: stats.written_bytes as f64,
                reads: stats.reads as f64,
                read_bytes: stats.read_bytes as f64,
                fsyncs: stats.fsyncs as f64,
                fsync_p50_ms: stats.fsync_p50_ms,
                fsync_p99_ms: stats.fsync_p99_ms,
                io_errors: stats.io_errors as f64,
                crc_errors: stats.crc_errors as f64,
                queue_depth: stats.queue_depth as f64,
            })
            .collect())
    })
}

/// A small value that the drive keeps for others; null if it was never set.
#[napi(ts_return_type = "string | null")]
pub fn drive_mark(drive_id: String, name: String) -> napi::Result<Either<String, Null>> {
    guard::now(|| {
        let drive = engine()?.drive(&parse("driveId", &drive_id)?)?;
        Ok(drive.mark(&name).map_or(Either::B(Null), Either::A))
    })
}

#[napi]
pub fn set_drive_mark<'env>(
    env: &'env Env,
    drive_id: String,
    name: String,
    value: String,
) -> napi::Result<PromiseRaw<'env, ()>> {
    let setting = async move {
        let drive = engine()?.drive(&parse("driveId", &drive_id)?)?;
        let setting = drive.set_mark(&name, &value);
        Ok(setting.await?)
    };
    guard::later(env, setting, |()| ())
}

/// Shards in index order, only those sealed before `beforeMs`, or begun before it and being written.
#[napi(ts_args_type = "driveId: string, cursor: string | null, limit: number, beforeMs: number")]
pub fn list_shards<'env>(
    env: &'env Env,
    drive_id: String,
    cursor: Either<String, Null>,
    limit: u32,
    before_ms: f64,
) -> napi::Result<PromiseRaw<'env, ShardPage>> {
    let listing = async move {
        let drive = engine()?.drive(&parse("driveId", &drive_id)?)?;
        let cursor = cursor_bytes(cursor)?;
        let before = size("beforeMs", before_ms.trunc())?;
        let page = engine()?
            .blocking(move || drive.list(cursor, limit as usize, before))
            .await??;
        Ok(page)
    };
    guard::later(env, listing, |(shards, cursor)| ShardPage {
        shards: shards
            .into_iter()
            .map(|record| {
                let name = ShardName::from(record.key);
                ShardRecord {
                    bucket_id: name.bucket_id,
                    blob_id: name.blob_id,
                    pg_id: name.pg_id,
                    index: name.index,
                    bytes: record.bytes as f64,
                    written_ms: record.written_ms as f64,
                    sealed: record.sealed,
                }
            })
            .collect(),
        cursor: cursor_text(cursor),
    })
}

/// Durably removes shards; those that are not there are no error.
#[napi]
pub fn delete_shards<'env>(
    env: &'env Env,
    drive_id: String,
    shards: Vec<ShardName>,
    generations: Vec<f64>,
) -> napi::Result<PromiseRaw<'env, ()>> {
    let deleting = async move {
        if shards.len() != generations.len() {
            return Err(Error::internal("as many generations as shards are needed"));
        }
        let named = shards.iter().zip(generations);
        let keys =
            named.map(|(shard, generation)| Ok((shard.key()?, size("generation", generation)?)));
        let keys = keys.collect::<Fallible<Vec<_>>>()?;
        engine()?
            .delete_shards(&parse("driveId", &drive_id)?, keys)
            .await
    };
    guard::later(env, deleting, |()| ())
}

/// Whether each shard lies there sealed and whole, by the index.
#[napi]
pub fn has_shards<'env>(
    env: &'env Env,
    drive_id: String,
    shards: Vec<ShardName>,
) -> napi::Result<PromiseRaw<'env, Vec<bool>>> {
    let asking = async move {
        let drive = parse("driveId", &drive_id)?;
        let keys = shards.iter().map(ShardName::key);
        let keys = keys.collect::<Fallible<Vec<_>>>()?;
        engine()?.has_shards(&drive, keys).await
    };
    guard::later(env, asking, |held| held)
}

#[napi(ts_args_type = "driveId: string, cursor: string | null, maxBytes: number")]
pub fn scrub<'env>(
    env: &'env Env,
    drive_id: String,
    cursor: Either<String, Null>,
    max_bytes: f64,
) -> napi::Result<PromiseRaw<'env, ScrubStep>> {
    let scrubbing = async move {
        let drive = parse("driveId", &drive_id)?;
        engine()?
            .scrub_drive(drive, cursor_bytes(cursor)?, size("maxBytes", max_bytes)?)
            .await
    };
    guard::later(env, scrubbing, |step| ScrubStep {
        bytes: step.bytes as f64,
        shards: step.shards as f64,
        damaged: step
            .damaged
            .into_iter()
            .map(|(key, _)| key.into())
            .collect(),
        cursor: cursor_text(step.cursor),
    })
}

#[napi]
pub fn compact<'env>(
    env: &'env Env,
    drive_id: String,
    max_bytes: f64,
) -> napi::Result<PromiseRaw<'env, CompactStep>> {
    let compacting = async move {
        let drive = engine()?.drive(&parse("driveId", &drive_id)?)?;
        let step = drive.compact(size("maxBytes", max_bytes)?).await;
        step.map_err(|error: StoreError| error.into())
    };
    guard::later(env, compacting, |step| CompactStep {
        moved_bytes: step.moved_bytes as f64,
        freed_bytes: step.freed_bytes as f64,
        more: step.more,
    })
}

/// Cursors cross as hex.
fn cursor_text(cursor: Option<Vec<u8>>) -> Either<String, Null> {
    cursor.map_or(Either::B(Null), |bytes| Either::A(hex(&bytes)))
}

fn cursor_bytes(cursor: Either<String, Null>) -> Fallible<Option<Vec<u8>>> {
    let Either::A(text) = cursor else {
        return Ok(None);
    };
    let mut bytes = vec![0; text.len() / 2];
    if !anvil_engine::id::decode_hex(&text, &mut bytes) {
        return Err(Error::internal("a cursor that is none"));
    }
    Ok(Some(bytes))
}
