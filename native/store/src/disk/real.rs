//! The file system, by pread, pwritev and fdatasync.

use std::ffi::CString;
use std::fs;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Disk, File, Space};
use crate::format::identity::IDENTITY_FILE;

/// Writes of this size are on their way to the drive before anyone asks for them to be durable.
const WRITEBACK_BYTES: u64 = 1024 * 1024;

pub struct RealDisk {
    root: PathBuf,
    /// The folder itself.
    folder: io::Result<fs::File>,
}

impl RealDisk {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let folder = fs::File::open(&root);
        Self { root, folder }
    }

    fn at(&self, path: &str) -> PathBuf {
        if path.is_empty() {
            self.root.clone()
        } else {
            self.root.join(path)
        }
    }
}

impl Disk for RealDisk {
    fn open(&self, path: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(RealFile(
            fs::OpenOptions::new()
                .read(true)
                .write(true)
                .open(self.at(path))?,
        )))
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let options = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.at(path))?;
        Ok(Arc::new(RealFile(options)))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.at(path))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        fs::read_dir(self.at(dir))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        fs::File::open(self.at(dir))?.sync_all()
    }

    fn leave_word(&self, name: &str, text: &[u8]) -> io::Result<()> {
        let folder = match &self.folder {
            Ok(folder) => folder,
            Err(error) => return Err(error.kind().into()),
        };
        let name = CString::new(name)?;
        // SAFETY: the name ends with NUL, and the descriptor lives as long as `self`.
        let file = unsafe {
            libc::openat(
                folder.as_raw_fd(),
                name.as_ptr(),
                libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC,
                0o644,
            )
        };
        if file < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that was just opened and that nobody else has.
        let mut file = unsafe { fs::File::from_raw_fd(file) };
        file.write_all(text)?;
        file.sync_all()?;
        folder.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        space(&self.root)
    }

    fn check_there(&self) -> io::Result<()> {
        fs::metadata(self.at(IDENTITY_FILE)).map(|_| ())
    }

    fn now_ms(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }

    fn random(&self) -> u64 {
        let mut bytes = [0u8; 8];
        // SAFETY: the pointer and the length are those of a live array. An error leaves it as it is, and is caught below.
        let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        assert_eq!(filled, 8, "the kernel gives random bytes");
        u64::from_ne_bytes(bytes)
    }

    fn name(&self) -> &'static str {
        "pwrite"
    }
}

fn space(path: &Path) -> io::Result<Space> {
    use std::os::unix::ffi::OsStrExt;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with NUL and `stat` has room for the answer.
    if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: statvfs succeeded and has filled it.
    let stat = unsafe { stat.assume_init() };
    Ok(Space {
        total: stat.f_blocks * stat.f_frsize,
        free: stat.f_bavail * stat.f_frsize,
    })
}

struct RealFile(fs::File);

impl RealFile {
    /// The drive gets to work on these bytes while the next ones are copied; durable they are only after `sync`, which also
    /// tells of what went wrong here.
    fn start_writeback(&self, offset: u64, len: u64) {
        // SAFETY: a plain system call on a descriptor that lives as long as `self`.
        unsafe {
            libc::sync_file_range(
                self.0.as_raw_fd(),
                offset as libc::off64_t,
                len as libc::off64_t,
                libc::SYNC_FILE_RANGE_WRITE,
            )
        };
    }
}

/// The first of `parts`: as many as one system call takes, and hardly more than [`WRITEBACK_BYTES`].
fn some_of<'a, 'b>(parts: &'a [IoSlice<'b>]) -> &'a [IoSlice<'b>] {
    let mut bytes = 0;
    let count = parts
        .iter()
        .take(1024)
        .take_while(|part| {
            let wanted = bytes < WRITEBACK_BYTES;
            bytes += part.len() as u64;
            wanted
        })
        .count();
    &parts[..count]
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.0.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        let part = libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: buffer.len(),
        };
        // SAFETY: one part, which lies in `buffer`.
        let read = unsafe {
            libc::preadv2(
                self.0.as_raw_fd(),
                &raw const part,
                1,
                offset as libc::off_t,
                libc::RWF_NOWAIT,
            )
        };
        // Whatever went wrong (EAGAIN mostly; a file system may not know the flag): a read that waits tells.
        Ok(read == buffer.len() as isize)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        // What has been written and is not yet on its way to the drive.
        let mut waiting = 0;
        let mut rest: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = rest.as_mut_slice();
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let some = some_of(rest);
            // SAFETY: IoSlice has the layout of iovec, `some` outlives the call, and its length is at most 1024.
            let written = unsafe {
                libc::pwritev(
                    self.0.as_raw_fd(),
                    some.as_ptr().cast(),
                    some.len() as libc::c_int,
                    offset as libc::off_t,
                )
            };
            match written {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written if written > 0 => {
                    // May be less than was given.
                    offset += written as u64;
                    waiting += written as u64;
                    IoSlice::advance_slices(&mut rest, written as usize);
                    if waiting >= WRITEBACK_BYTES {
                        self.start_writeback(offset - waiting, waiting);
                        waiting = 0;
                    }
                }
                _ => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 0)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        // SAFETY: a plain system call on a descriptor that lives as long as `self`.
        match unsafe {
            libc::fallocate(
                self.0.as_raw_fd(),
                libc::FALLOC_FL_KEEP_SIZE,
                0,
                len as libc::off_t,
            )
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
