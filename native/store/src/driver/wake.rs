//! How soon a thread that waits for the drive runs again when the processors are busy.

/// The shortest time slice that Linux grants an ordinary thread.
const SLICE_NS: u64 = 100_000;

/// Asks for a short time slice on the calling thread. Under Linux 6.12 and later a thread that wakes runs at once in place of
/// one that asked for a longer slice, at no higher share of the processor. Otherwise each fdatasync that ends while all
/// processors compute (erasure codes, hashes, the compiler next door) is noticed at the next timer tick, up to 4 ms later.
/// Earlier kernels ignore it. Anyone may ask for it.
pub fn promptly() {
    // SAFETY: an all-zero sched_attr is one (ordinary policy, nice 0).
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: reads the nice value of the calling thread, which must stay what it is.
    attributes.sched_nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    attributes.sched_runtime = SLICE_NS;
    // SAFETY: a system call on the calling thread (0) that reads the struct, whose size it is told. That it fails is no harm.
    unsafe {
        libc::syscall(
            libc::SYS_sched_setattr,
            0 as libc::c_long,
            &raw const attributes,
            0 as libc::c_long,
        );
    }
}
